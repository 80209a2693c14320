//! What goes over all attempts at work takes longer the more have ended, for as long as somebody keeps an old transaction open:
//! the longer it takes, the more seldom it is done.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::StoreResult;

/// It rests so many times as long as it took,
const RESTS: u32 = 20;
/// but no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// How long to rest. What took long once does not count: the database stood still, perhaps, and there is all the more to do.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    last: Duration,
}

impl Rests {
    /// After it took so long.
    pub(crate) fn after(&mut self, took: Duration) -> Duration {
        let last = std::mem::replace(&mut self.last, took);
        (last.min(took) * RESTS).min(LONGEST_REST)
    }
}

/// When to do it again.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<(Rests, Instant)>);

impl Pace {
    /// At once.
    pub(crate) fn new() -> Self {
        Self(Mutex::new((Rests::default(), Instant::now())))
    }

    /// Whether it is due.
    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Does it. What fails, or is given up, stays due.
    pub(crate) async fn keep<T>(&self, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let begin = Instant::now();
        let done = work.await?;
        let (rests, due_at) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *due_at = Instant::now() + rests.after(begin.elapsed());
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use ursa_proto::ApiError;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_longer_it_takes_the_longer_the_rest_but_not_when_it_was_once() {
        let mut rests = Rests::default();
        let mut after = |millis| rests.after(Duration::from_millis(millis)).as_millis();
        assert_eq!([100, 100, 50, 6000, 50, 50].map(&mut after), [0, 2000, 1000, 1000, 1000, 1000]);
        assert_eq!([60_000, 60_000].map(after), [1000, 30_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_been_done_rests_and_what_failed_is_due() {
        let pace = Pace::new();
        let take = async |time: Duration| {
            tokio::time::sleep(time).await;
            Ok(())
        };
        for _ in 0..2 {
            assert!(pace.is_due());
            pace.keep(take(Duration::from_millis(100))).await.unwrap();
        }
        assert!(!pace.is_due());
        tokio::time::advance(Duration::from_millis(2010)).await;
        assert!(pace.is_due());
        let failed: StoreResult<()> = pace.keep(async { Err(ApiError::not_found("job", Uuid::nil()).into()) }).await;
        assert!(failed.is_err() && pace.is_due());
    }
}
