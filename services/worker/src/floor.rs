//! The work floor: every attempt this worker is at, from the order to the coordinator's word that its end is recorded.
//!
//! What is listed here keeps its lease, because each report lists it; so an attempt leaves the floor only when nothing is
//! left to say about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use ursa_domain::ErrorClass;
use ursa_proto::v1::{self, task_order::Work};
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::error::{Failure, Stop};
use crate::patience::Patience;
use crate::tools::Tools;
use crate::{execute, outbox};

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    tools: Arc<Tools>,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    tracker: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<(Uuid, u32), Running>,
    /// No more work is begun.
    closing: bool,
}

#[derive(Debug)]
struct Running {
    lease: v1::Lease,
    is_training: bool,
    progress: watch::Receiver<v1::Progress>,
    stop: watch::Sender<Option<Stop>>,
}

/// What the floor has to say of itself.
#[derive(Debug)]
pub(crate) struct FloorReport {
    /// Every attempt in work.
    pub(crate) running: Vec<v1::RunningAttempt>,
    /// Whether one of them trains.
    pub(crate) is_training: bool,
    /// Whether no more work is begun.
    pub(crate) is_closing: bool,
}

impl Floor {
    pub(crate) fn new(tools: Tools) -> Self {
        Self {
            tools: Arc::new(tools),
            state: Arc::default(),
            changes: watch::Sender::new(0),
            tracker: TaskTracker::new(),
        }
    }

    /// Changes whenever an attempt comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// As it is now.
    pub(crate) fn report(&self) -> FloorReport {
        let state = self.lock();
        let entry = |running: &Running| v1::RunningAttempt {
            lease: Some(running.lease.clone()),
            progress: Some(running.progress.borrow().clone()),
        };
        FloorReport {
            running: state.running.values().map(entry).collect(),
            is_training: state.running.values().any(|running| running.is_training),
            is_closing: state.closing,
        }
    }

    /// Starts an attempt. One that runs already is left alone; one that comes too late is handed back, so that it is not
    /// waited for until its lease has run out.
    pub(crate) fn start(&self, order: v1::TaskOrder) {
        let Some((lease, key, job_id, work)) = parts(order) else {
            tracing::error!("the coordinator ordered something this worker does not understand");
            return;
        };
        let (progress, seen) = watch::channel(v1::Progress::default());
        let (stop, stopping) = watch::channel(None);
        let is_training = matches!(work, Work::Train(_));
        {
            let mut state = self.lock();
            if state.closing {
                drop(state);
                return self.hand_back(lease);
            }
            if state.running.contains_key(&key) {
                return;
            }
            state.running.insert(key, Running { lease: lease.clone(), is_training, progress: seen, stop });
        }
        let (sender, items) = outbox::channel();
        let patience = Patience::new(stopping.clone());
        let attempt = Attempt::new(lease.clone(), (key.0, job_id), progress, stopping, sender);
        let diary = tokio::spawn(outbox::deliver(self.tools.client.clone(), lease, items, patience.clone()));
        let place = Place { floor: self.clone(), key };
        self.tracker.spawn(async move {
            execute::execute(&place.floor.tools, attempt, work, diary, &patience).await;
        });
        self.note_change();
    }

    fn hand_back(&self, lease: v1::Lease) {
        let tools = self.tools.clone();
        self.tracker.spawn(async move {
            let message = format!("worker {} was about to stop", tools.name);
            let failure = Failure { class: ErrorClass::Infrastructure, message };
            let (_sender, stop) = watch::channel(Some(Stop::Shutdown));
            // Where this is not heard, the lease runs out.
            let _ = execute::fail(&tools, &lease, failure, &Patience::new(stop)).await;
        });
    }

    /// Tells an attempt to stop; one that is not here is no concern.
    pub(crate) fn stop(&self, lease: &v1::Lease, reason: Stop) {
        if let Some(running) = self.lock().running.values().find(|running| running.lease == *lease) {
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

    /// Begins no more, tells every attempt to stop, and waits until all have said how they ended.
    pub(crate) async fn close(&self) {
        {
            let mut state = self.lock();
            state.closing = true;
            for running in state.running.values() {
                running.stop.send_replace(Some(Stop::Shutdown));
            }
        }
        self.note_change();
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it, and it is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt's place on the floor, left whatever happens: a lease that nobody works under must not be renewed.
struct Place {
    floor: Floor,
    key: (Uuid, u32),
}

impl Drop for Place {
    fn drop(&mut self) {
        self.floor.lock().running.remove(&self.key);
        self.floor.note_change();
    }
}

fn parts(order: v1::TaskOrder) -> Option<(v1::Lease, (Uuid, u32), Uuid, Work)> {
    let lease = order.lease?;
    let task = Uuid::try_parse(&lease.task_id).ok()?;
    let job = Uuid::try_parse(&order.job_id).ok()?;
    let key = (task, lease.attempt);
    Some((lease, key, job, order.work?))
}
