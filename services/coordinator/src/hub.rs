//! Wakes whoever waits for a topic, in this coordinator and the others. A wake-up is a hint: whoever waits also looks by
//! itself now and then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{Store, StoreResult, Topic};

/// One counter per topic; a change of it is the wake-up.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Tells our own hints from others'.
    id: Uuid,
    topics: [watch::Sender<u64>; Topic::ALL.len()],
    /// What the other coordinators have to be told.
    untold: Mutex<Vec<Topic>>,
    news: Notify,
}

const RECONNECT: Duration = Duration::from_secs(1);
/// Where nobody has said anything for so long, not even this coordinator, the connection may be gone: it is made anew.
const QUIET: Duration = Duration::from_mins(10);
/// Postgres commits notifications one at a time: many commits make one.
const GATHER: Duration = Duration::from_millis(5);

impl Default for Hub {
    fn default() -> Self {
        Self {
            id: Uuid::now_v7(),
            topics: Topic::ALL.map(|_| watch::Sender::new(0)),
            untold: Mutex::default(),
            news: Notify::new(),
        }
    }
}

impl Hub {
    /// Of this coordinator's run.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// A receiver whose `changed` resolves once for all wake-ups since it was last asked.
    pub(crate) fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.topics[topic as usize].subscribe()
    }

    /// Wakes those of this coordinator.
    pub(crate) fn wake(&self, topic: Topic) {
        self.topics[topic as usize].send_modify(|count| *count += 1);
    }

    /// Wakes everybody: something is committed.
    pub(crate) fn committed(&self, topics: &[Topic]) {
        if topics.is_empty() {
            return;
        }
        for topic in topics {
            self.wake(*topic);
        }
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.extend_from_slice(topics);
        self.news.notify_one();
    }

    /// Passes on others' hints, and ours to them, until told to stop.
    pub(crate) async fn run(&self, store: Store, stop: CancellationToken) {
        let listening = self.listen(&store);
        let telling = self.tell(&store);
        stop.run_until_cancelled(Box::pin(async { tokio::join!(listening, telling) })).await;
    }

    async fn listen(&self, store: &Store) {
        loop {
            if let Err(error) = self.relay(store).await {
                tracing::debug!(%error, "lost the database's hints; sweeps go on");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn relay(&self, store: &Store) -> StoreResult<()> {
        let mut hints = store.listen().await?;
        // Some may have been missed before the connection stood.
        self.wake_all();
        loop {
            let Ok(hint) = tokio::time::timeout(QUIET, hints.next()).await else { return Ok(()) };
            match hint? {
                Some((from, _)) if from == self.id => {}
                Some((_, topic)) => self.wake(topic),
                None => self.wake_all(),
            }
        }
    }

    fn wake_all(&self) {
        for topic in Topic::ALL {
            self.wake(topic);
        }
    }

    async fn tell(&self, store: &Store) {
        loop {
            self.news.notified().await;
            tokio::time::sleep(GATHER).await;
            let mut topics = std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner));
            topics.sort_unstable();
            topics.dedup();
            if let Err(error) = store.announce(&topics).await {
                tracing::debug!(%error, "could not hint other coordinators; their sweeps go on");
            }
        }
    }
}

/// Waits for a wake-up, at most `patience`.
pub(crate) async fn wait(receiver: &mut watch::Receiver<u64>, patience: Duration) {
    // An error means that the hub is gone, which happens only at the very end; waiting is right then, too.
    if let Ok(Err(_)) = tokio::time::timeout(patience, receiver.changed()).await {
        tokio::time::sleep(patience).await;
    }
}
