//! The loops that a coordinator consists of. It cannot do without any of them: when one panics, the coordinator ends, and
//! whoever started it starts another.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a loop was about to do at the end, the next start does.
const DRAIN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Loops {
    tracker: TaskTracker,
    asked: CancellationToken,
    stop: CancellationToken,
}

impl Loops {
    /// Loops that end when `asked` to, or by themselves when one breaks.
    pub(crate) fn new(asked: &CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), asked: asked.clone(), stop: asked.child_token() }
    }

    /// Cancelled when the coordinator shall end.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts one that looks at [`Loops::stop`] itself.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                stop.cancel();
            }
        });
    }

    /// Starts one that may be ended anywhere.
    pub(crate) fn start_endless(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        // Some futures are large.
        let work = Box::pin(work);
        self.start(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// One of them had panicked.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.tracker.close();
        let _ = tokio::time::timeout(DRAIN, self.tracker.wait()).await;
        anyhow::ensure!(self.asked.is_cancelled() || !self.stop.is_cancelled(), "a part of the coordinator broke down");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn when_one_breaks_all_end_and_that_is_a_failure() {
        let asked = CancellationToken::new();
        let loops = Loops::new(&asked);
        loops.start_endless(std::future::pending());
        loops.start(async { panic!("a fault") });
        loops.stop().cancelled().await;
        assert!(!asked.is_cancelled(), "nobody asked for it");
        assert!(loops.end().await.is_err());
    }

    #[tokio::test]
    async fn whoever_asks_them_to_end_hears_of_no_failure() {
        let asked = CancellationToken::new();
        let loops = Loops::new(&asked);
        loops.start_endless(std::future::pending());
        asked.cancel();
        loops.end().await.unwrap();
    }
}
