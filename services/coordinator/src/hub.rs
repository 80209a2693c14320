//! Wakes whoever waits for a topic. A wake-up is a hint: whoever waits also looks by itself now and then.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreResult, Topic};

/// One counter per topic; a change of it is the wake-up.
#[derive(Debug)]
pub(crate) struct Hub {
    tasks: watch::Sender<u64>,
    jobs: watch::Sender<u64>,
    endpoints: watch::Sender<u64>,
    events: watch::Sender<u64>,
}

const RECONNECT: Duration = Duration::from_secs(1);

impl Default for Hub {
    fn default() -> Self {
        let sender = || watch::Sender::new(0);
        Self { tasks: sender(), jobs: sender(), endpoints: sender(), events: sender() }
    }
}

impl Hub {
    fn sender(&self, topic: Topic) -> &watch::Sender<u64> {
        match topic {
            Topic::Tasks => &self.tasks,
            Topic::Jobs => &self.jobs,
            Topic::Endpoints => &self.endpoints,
            Topic::Events => &self.events,
        }
    }

    /// A receiver whose `changed` resolves once for all wake-ups since it was last asked.
    pub(crate) fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.sender(topic).subscribe()
    }

    fn wake(&self, topic: Topic) {
        self.sender(topic).send_modify(|count| *count += 1);
    }

    fn wake_all(&self) {
        for topic in [Topic::Tasks, Topic::Jobs, Topic::Endpoints, Topic::Events] {
            self.wake(topic);
        }
    }

    /// Passes on the database's hints until told to stop.
    pub(crate) async fn run(&self, store: Store, stop: CancellationToken) {
        while let Some(outcome) = stop.run_until_cancelled(self.relay(&store)).await {
            if let Err(error) = outcome {
                tracing::debug!(%error, "lost the database's hints; sweeps go on");
            }
            if stop.run_until_cancelled(tokio::time::sleep(RECONNECT)).await.is_none() {
                return;
            }
        }
    }

    async fn relay(&self, store: &Store) -> StoreResult<()> {
        let mut hints = store.listen().await?;
        // Some may have been missed before the connection stood.
        self.wake_all();
        loop {
            match hints.next().await? {
                Some(topic) => self.wake(topic),
                None => self.wake_all(),
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
