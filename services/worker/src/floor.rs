//! The work floor: every attempt this worker is at, from the order to the coordinator's word that its end is recorded.
//!
//! What is listed here keeps its lease, because each report lists it; so an attempt leaves the floor only when nothing is
//! left to say about it. What the floor has no room for is given back at once, which uses up no attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use ursa_domain::ErrorClass;
use ursa_proto::v1::{self, task_order::Work};
use uuid::Uuid;

use crate::attempt::{Assignment, Attempt, Standing};
use crate::diary::Diary;
use crate::error::Failure;
use crate::execute;
use crate::news::News;
use crate::patience::Patience;
use crate::stop::Stop;
use crate::tools::Tools;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    tools: Arc<Tools>,
    state: Arc<Mutex<State>>,
    news: News,
    tracker: TaskTracker,
    /// Cancelled when attempts have but a moment left to say how they ended.
    ending: CancellationToken,
}

/// A task and which attempt at it.
type Key = (Uuid, u32);

#[derive(Debug, Default)]
struct State {
    running: HashMap<Key, Running>,
    /// No more work is begun, because the worker shall end.
    closing: bool,
    /// No more work is begun, by the word of an operator.
    drained: bool,
}

#[derive(Debug)]
struct Running {
    lease: v1::Lease,
    standing: watch::Receiver<Standing>,
    stop: watch::Sender<Option<Stop>>,
}

/// What the floor has to say of itself.
#[derive(Debug)]
pub(crate) struct FloorReport {
    /// Every attempt in work.
    pub(crate) running: Vec<v1::RunningAttempt>,
    /// Whether no more work is begun.
    pub(crate) takes_no_more: bool,
}

/// What becomes of an order.
#[derive(Debug)]
enum Admission {
    Welcome,
    /// It is in work already.
    Known,
    /// Why it cannot be begun.
    NoRoom(String),
}

impl Floor {
    pub(crate) fn new(tools: Tools) -> Self {
        Self {
            tools: Arc::new(tools),
            state: Arc::default(),
            news: News::default(),
            tracker: TaskTracker::new(),
            ending: CancellationToken::new(),
        }
    }

    /// When there is something to report.
    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    /// As it is now.
    pub(crate) fn report(&self) -> FloorReport {
        // First, so that what changes from here on is news again.
        self.news.told();
        let state = self.lock();
        FloorReport {
            running: state.running.values().map(Running::report).collect(),
            takes_no_more: state.closing || state.drained || self.tools.disk.shortage().is_some(),
        }
    }

    /// Starts an attempt. One that runs already is left alone; one there is no room for is given back, so that it is not
    /// waited for until its lease has run out.
    pub(crate) fn start(&self, order: v1::TaskOrder) {
        let Some((assignment, work)) = read(order) else {
            tracing::error!("the coordinator ordered something this worker does not understand");
            return;
        };
        let (standing, seen) = watch::channel(Standing::default());
        let (stop, stopping) = watch::channel(None);
        let running = Running { lease: assignment.lease.clone(), standing: seen, stop };
        match self.admit(&assignment, running) {
            Admission::Welcome => {}
            Admission::Known => return,
            Admission::NoRoom(reason) => return self.give_back(assignment.lease, reason),
        }
        let place = Place { floor: self.clone(), key: key(&assignment) };
        let patience = Patience::new(stopping.clone(), self.ending.clone());
        let diary = Diary::new(self.tools.client.clone(), assignment.lease.clone(), patience.clone());
        let attempt = Attempt::new(assignment, standing, stopping, self.news.clone(), diary);
        self.tracker.spawn(async move {
            execute::execute(&place.floor.tools, attempt, work, &patience).await;
        });
        self.news.soon();
    }

    fn admit(&self, assignment: &Assignment, running: Running) -> Admission {
        let mut state = self.lock();
        let key = key(assignment);
        if state.running.contains_key(&key) {
            return Admission::Known;
        }
        if let Some(reason) = self.no_room(&state, assignment) {
            return Admission::NoRoom(reason);
        }
        state.running.insert(key, running);
        Admission::Welcome
    }

    /// Why nothing can be begun, or not this.
    fn no_room(&self, state: &State, assignment: &Assignment) -> Option<String> {
        let (name, slots) = (&self.tools.name, self.tools.slots as usize);
        // Counted only where it matters: most of the time there is room for more than is listed.
        let busy = match state.running.len() {
            listed if listed < slots => listed,
            _ => state.running.values().filter(|running| running.occupies_a_slot()).count(),
        };
        if state.closing {
            Some(format!("worker {name} was about to stop"))
        } else if state.drained {
            Some(format!("worker {name} is drained"))
        } else if busy >= slots {
            Some(format!("worker {name} has no room: it works on {busy} tasks already"))
        } else if let Some(gpu) = self.tools.gpus.missing(&assignment.gpus) {
            Some(format!("worker {name} has no GPU {gpu} now"))
        } else {
            self.tools.disk.shortage().map(|shortage| format!("worker {name} has no room: {shortage}"))
        }
    }

    fn give_back(&self, lease: v1::Lease, reason: String) {
        let tools = self.tools.clone();
        let span = tracing::info_span!("attempt", task = lease.task_id, attempt = lease.attempt);
        let giving_back = async move {
            let failure = Failure::new(ErrorClass::Returned, reason);
            // Where this is not heard, the lease runs out.
            let _ = execute::fail(&tools, &lease, failure, v1::StopStage::Unspecified, &Patience::brief()).await;
        };
        self.tracker.spawn(giving_back.instrument(span));
    }

    /// Tells an attempt to stop; one that is not here is no concern.
    pub(crate) fn stop(&self, lease: &v1::Lease, reason: Stop) {
        let Ok(task_id) = Uuid::try_parse(&lease.task_id) else { return };
        let state = self.lock();
        if let Some(running) = state.running.get(&(task_id, lease.attempt)).filter(|running| running.lease == *lease)
            && running.tell_to_stop(reason)
        {
            tracing::info!(task = %task_id, attempt = lease.attempt, ?reason, "an attempt was told to stop");
        }
    }

    /// Begins no more, or does again, by the word of an operator. What is in work goes on.
    pub(crate) fn drain(&self, drained: bool) {
        let changed = std::mem::replace(&mut self.lock().drained, drained) != drained;
        if changed {
            tracing::info!(drained, "an operator decided whether this worker takes tasks");
            self.news.now();
        }
    }

    /// Begins no more, because the worker shall end. What is in work goes on.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.tracker.close();
        self.news.now();
    }

    /// Tells every attempt to stop because the worker shall end.
    pub(crate) fn clear(&self) {
        self.ending.cancel();
        for running in self.lock().running.values() {
            running.tell_to_stop(Stop::Shutdown);
        }
    }

    /// Resolves when the floor is closed and every attempt has said how it ended.
    pub(crate) async fn is_empty(&self) {
        self.tracker.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it, and it is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn report(&self) -> v1::RunningAttempt {
        let standing = self.standing.borrow();
        v1::RunningAttempt {
            lease: Some(self.lease.clone()),
            progress: Some(standing.progress.clone()),
            stop_stage: standing.stop_stage.into(),
        }
    }

    /// Not when its work is over: the coordinator gives the slot away as soon as it has recorded the end, a little before
    /// this worker hears that it has. Nor when the lease is lost, for then the slot is free in the coordinator's eyes.
    fn occupies_a_slot(&self) -> bool {
        !self.standing.borrow().is_over && *self.stop.borrow() != Some(Stop::LeaseLost)
    }

    /// Whether that is news.
    fn tell_to_stop(&self, reason: Stop) -> bool {
        self.stop.send_if_modified(|last| {
            let counts_more = Some(reason) > *last;
            if counts_more {
                *last = Some(reason);
            }
            counts_more
        })
    }
}

/// An attempt's place on the floor, left whatever happens: a lease that nobody works under must not be renewed.
struct Place {
    floor: Floor,
    key: Key,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.floor.lock().running.remove(&self.key);
        self.floor.news.soon();
    }
}

fn key(assignment: &Assignment) -> Key {
    (assignment.task_id, assignment.lease.attempt)
}

fn read(order: v1::TaskOrder) -> Option<(Assignment, Work)> {
    let lease = order.lease?;
    let task_id = Uuid::try_parse(&lease.task_id).ok()?;
    let job_id = Uuid::try_parse(&order.job_id).ok()?;
    Some((Assignment { lease, task_id, job_id, gpus: order.gpus }, order.work?))
}
