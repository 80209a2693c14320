//! What goes over all attempts at work takes longer the more have ended, for as long as somebody keeps an old transaction open:
//! the longer it takes, the more seldom it is done.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::StoreResult;

/// It rests so many times as long as it took,
const RESTS: u32 = 20;
/// but no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    due_at: Mutex<Instant>,
}

impl Pace {
    /// Due at once.
    pub(super) fn new() -> Self {
        Self { due_at: Mutex::new(Instant::now()) }
    }

    /// Whether it is due.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= *self.due_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does it. What fails is tried again at once; what is given up, as if it had taken long.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let begin = Instant::now();
        self.rest_until(begin + LONGEST_REST);
        let done = work.await;
        let rest = if done.is_ok() { (begin.elapsed() * RESTS).min(LONGEST_REST) } else { Duration::ZERO };
        self.rest_until(Instant::now() + rest);
        done
    }

    fn rest_until(&self, due_at: Instant) {
        *self.due_at.lock().unwrap_or_else(PoisonError::into_inner) = due_at;
    }
}

#[cfg(test)]
mod tests {
    use ursa_proto::ApiError;
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_took_long_is_due_later_and_what_failed_at_once() {
        let pace = Pace::new();
        assert!(pace.is_due());
        let take = async |time: Duration| {
            tokio::time::sleep(time).await;
            Ok(())
        };
        pace.keep(take(Duration::from_millis(100))).await.unwrap();
        assert!(!pace.is_due());
        tokio::time::advance(Duration::from_millis(2000)).await;
        assert!(pace.is_due());
        pace.keep(take(Duration::from_mins(1))).await.unwrap();
        tokio::time::advance(LONGEST_REST).await;
        assert!(pace.is_due());
        let failed: StoreResult<()> = pace.keep(async { Err(ApiError::not_found("job", Uuid::nil()).into()) }).await;
        assert!(failed.is_err() && pace.is_due());
        let given_up =
            tokio::time::timeout(Duration::from_secs(1), pace.keep(std::future::pending::<StoreResult<()>>()));
        assert!(given_up.await.is_err() && !pace.is_due());
    }
}
