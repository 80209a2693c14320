//! Calls to the coordinator that are repeated while it is away. Every call a worker makes is harmless when repeated.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use ursa_proto::ApiError;

use crate::error::Stop;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How long a worker that shall end still tries to say how its attempts ended.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Goes on for ever, until the lease is lost or, a moment longer, until the worker shall end.
#[derive(Debug, Clone)]
pub(crate) struct Patience(watch::Receiver<Option<Stop>>);

impl Patience {
    /// Patience for an attempt that may be told to stop.
    pub(crate) fn new(stop: watch::Receiver<Option<Stop>>) -> Self {
        Self(stop)
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
        let mut stop = self.0.clone();
        let futile = |stop: &Option<Stop>| matches!(stop, Some(Stop::LeaseLost | Stop::Shutdown));
        let reason = stop.wait_for(futile).await.map_or(Some(Stop::Shutdown), |reason| *reason);
        if reason == Some(Stop::Shutdown) {
            tokio::time::sleep(LAST_WORDS).await;
        }
    }
}
