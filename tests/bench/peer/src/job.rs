//! The job that does nothing, and when each one started.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Tells its place to [`Starts`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Nothing {
    pub(crate) place: usize,
}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        context.get_ext::<Starts>().ok_or("no place to tell it")?.note(self.place);
        Ok::<(), &str>(())
    }
}

/// When the jobs started; one clock with whoever adds them.
#[derive(Debug, Clone)]
pub(crate) struct Starts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    at: Box<[OnceLock<Instant>]>,
    count: AtomicUsize,
    all: Notify,
}

impl Starts {
    /// Of `jobs` jobs.
    pub(crate) fn of(jobs: usize) -> Self {
        let at = std::iter::repeat_with(OnceLock::new).take(jobs).collect();
        Self(Arc::new(Inner { at, count: AtomicUsize::new(0), all: Notify::new() }))
    }

    /// A job that runs again has started before.
    fn note(&self, place: usize) {
        let Inner { at, count, all } = &*self.0;
        let first = at.get(place).is_some_and(|at| at.set(Instant::now()).is_ok());
        if first && count.fetch_add(1, Ordering::Relaxed) + 1 == at.len() {
            all.notify_one();
        }
    }

    /// Waits until every job has started; for one caller.
    pub(crate) async fn all(&self) {
        self.0.all.notified().await;
    }

    /// How many have started.
    pub(crate) fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// When the job at `place` started, if it has.
    pub(crate) fn at(&self, place: usize) -> Option<Instant> {
        self.0.at.get(place)?.get().copied()
    }
}
