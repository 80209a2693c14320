//! The work floor: every attempt this worker is at, from the order to the coordinator's word that its end is recorded.
//!
//! What is listed here keeps its lease, because each report lists it; so an attempt leaves the floor only when nothing is
//! left to say about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use ursa_proto::v1::{self, task_order::Work};
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::error::Stop;
use crate::patience::Patience;
use crate::tools::Tools;
use crate::{execute, outbox};

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    tools: Arc<Tools>,
    running: Arc<Mutex<HashMap<(Uuid, u32), Running>>>,
    changes: watch::Sender<u64>,
    tracker: TaskTracker,
}

#[derive(Debug)]
struct Running {
    lease: v1::Lease,
    progress: watch::Receiver<v1::Progress>,
    stop: watch::Sender<Option<Stop>>,
}

impl Floor {
    pub(crate) fn new(tools: Tools) -> Self {
        Self {
            tools: Arc::new(tools),
            running: Arc::default(),
            changes: watch::Sender::new(0),
            tracker: TaskTracker::new(),
        }
    }

    /// Changes whenever an attempt comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every attempt in work, for the report.
    pub(crate) fn report(&self) -> Vec<v1::RunningAttempt> {
        let entry = |running: &Running| v1::RunningAttempt {
            lease: Some(running.lease.clone()),
            progress: Some(running.progress.borrow().clone()),
        };
        self.lock().values().map(entry).collect()
    }

    /// Starts an attempt; one that runs already is left alone.
    pub(crate) fn start(&self, order: v1::TaskOrder) {
        let Some((lease, key, job_id, work)) = parts(order) else {
            tracing::error!("the coordinator ordered something this worker does not understand");
            return;
        };
        let (progress, seen) = watch::channel(v1::Progress::default());
        let (stop, stopping) = watch::channel(None);
        {
            let mut running = self.lock();
            if running.contains_key(&key) {
                return;
            }
            running.insert(key, Running { lease: lease.clone(), progress: seen, stop });
        }
        let (sender, items) = outbox::channel();
        let patience = Patience::new(stopping.clone());
        let attempt = Attempt::new(lease.clone(), (key.0, job_id), progress, stopping, sender);
        let diary = tokio::spawn(outbox::deliver(self.tools.client.clone(), lease, items, patience.clone()));
        let floor = self.clone();
        self.tracker.spawn(async move {
            execute::execute(&floor.tools, attempt, work, diary, &patience).await;
            floor.leave(key);
        });
        self.changes.send_modify(|count| *count += 1);
    }

    /// Tells an attempt to stop; one that is not here is no concern.
    pub(crate) fn stop(&self, lease: &v1::Lease, reason: Stop) {
        if let Some(running) = self.lock().values().find(|running| running.lease == *lease) {
            // A lost lease is the last word; a cancellation may still become one.
            running.stop.send_if_modified(|last| {
                let news = last.is_none() || (reason == Stop::LeaseLost && *last != Some(reason));
                if news {
                    *last = Some(reason);
                }
                news
            });
        }
    }

    /// Tells every attempt to stop, and waits until all have said how they ended.
    pub(crate) async fn clear(&self) {
        for running in self.lock().values() {
            running.stop.send_replace(Some(Stop::Shutdown));
        }
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn leave(&self, key: (Uuid, u32)) {
        self.lock().remove(&key);
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Uuid, u32), Running>> {
        // Nobody panics while holding it, and a map is whole at every moment.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parts(order: v1::TaskOrder) -> Option<(v1::Lease, (Uuid, u32), Uuid, Work)> {
    let lease = order.lease?;
    let task = Uuid::try_parse(&lease.task_id).ok()?;
    let job = Uuid::try_parse(&order.job_id).ok()?;
    let key = (task, lease.attempt);
    Some((lease, key, job, order.work?))
}
