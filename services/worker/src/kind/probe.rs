//! Probing: nothing is done, for a while.

use std::time::Duration;

use tokio::time::Instant;
use ursa_proto::v1;

use crate::attempt::Attempt;
use crate::error::WorkError;

/// How often it tells of its progress.
const STEP: Duration = Duration::from_millis(200);

/// Waits as long as the task says, then ends as it says.
pub(crate) async fn work(attempt: &Attempt, task: v1::ProbeTask) -> Result<v1::ProbeResult, WorkError> {
    let begin = Instant::now();
    let duration = Duration::from_millis(task.duration_ms);
    loop {
        let done = begin.elapsed().min(duration);
        if done == duration {
            break;
        }
        attempt.progress(done.as_millis() as u64, task.duration_ms, "ms", "doing nothing, as asked to");
        tokio::time::sleep(duration.saturating_sub(done).min(STEP)).await;
    }
    if task.fail {
        return Err(WorkError::retryable("the probe failed, as it was asked to"));
    }
    Ok(v1::ProbeResult {})
}
