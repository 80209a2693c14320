//! Calls to the coordinator that are repeated while it is away. Every call a worker makes is harmless when repeated.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use ursa_proto::ApiError;

use crate::stop::Stop;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How long a worker that shall end still tries to say how its attempts ended.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Goes on for ever, until the lease is lost or, a moment longer, until the worker shall end.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    stop: watch::Receiver<Option<Stop>>,
    ending: CancellationToken,
}

impl Patience {
    /// Patience for an attempt that may be told to stop, on a worker that may be `ending`.
    pub(crate) fn new(stop: watch::Receiver<Option<Stop>>, ending: CancellationToken) -> Self {
        Self { stop, ending }
    }

    /// Patience of a moment.
    pub(crate) fn brief() -> Self {
        let ending = CancellationToken::new();
        ending.cancel();
        Self { stop: watch::channel(None).1, ending }
    }

    /// Repeats `call` while the coordinator is not available.
    pub(crate) async fn repeat<T, F, Fut>(&self, call: F) -> Result<T, ApiError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut wait = FIRST_WAIT;
        let end = self.end();
        tokio::pin!(end);
        loop {
            let error = match call().await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => ApiError::from(status),
            };
            if !error.is_retryable() {
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = &mut end => return Err(error),
            }
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    async fn end(&self) {
        let mut stop = self.stop.clone();
        let lost = async {
            if stop.wait_for(|stop| *stop == Some(Stop::LeaseLost)).await.is_err() {
                // Nobody will say so any more.
                std::future::pending::<()>().await;
            }
        };
        let last_words = async {
            self.ending.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! { () = lost => {}, () = last_words => {} }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tonic::{Response, Status};

    use super::*;

    async fn away() -> Result<Response<()>, Status> {
        Err(Status::unavailable("away"))
    }

    #[tokio::test(start_paused = true)]
    async fn it_lasts_as_long_as_the_lease_may_and_a_moment_after_the_worker_shall_end() {
        let (stop, seen) = watch::channel(None);
        let ending = CancellationToken::new();
        let patience = Patience::new(seen, ending.clone());
        assert!(tokio::time::timeout(Duration::from_hours(1), patience.repeat(away)).await.is_err());

        ending.cancel();
        let begin = Instant::now();
        patience.repeat(away).await.unwrap_err();
        assert!(begin.elapsed() >= LAST_WORDS && begin.elapsed() < 2 * LAST_WORDS, "{:?}", begin.elapsed());

        stop.send_replace(Some(Stop::LeaseLost));
        let begin = Instant::now();
        patience.repeat(away).await.unwrap_err();
        assert!(begin.elapsed() < LAST_WORDS);
    }

    #[tokio::test(start_paused = true)]
    async fn brief_patience_ends_by_itself_and_a_refusal_ends_any() {
        let begin = Instant::now();
        Patience::brief().repeat(away).await.unwrap_err();
        assert!(begin.elapsed() < 2 * LAST_WORDS);
        let refused = || async { Err::<Response<()>, _>(Status::invalid_argument("no")) };
        assert_eq!(Patience::brief().repeat(refused).await.unwrap_err().message, "no");
    }
}
