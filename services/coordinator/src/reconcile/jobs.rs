//! Moves jobs on: starts those whose condition is fulfilled, skips those whose cannot be, feeds those that take up what
//! others commit, ends those whose tasks have ended.

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::sweep_on;
use crate::context::Context;
use crate::store::{Planned, Store, StoreResult, Topic};

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    sweep_on("jobs", &context, Topic::Jobs, &stop, || sweep(&context.store)).await;
}

/// What came of moving a job; nothing where the job is at fault: others are moved all the same.
fn alone<T>(job: Uuid, moved: StoreResult<T>) -> StoreResult<Option<T>> {
    match moved {
        Ok(moved) => Ok(Some(moved)),
        Err(error) if error.is_outage() => Err(error),
        Err(error) => {
            tracing::error!(%error, %job, "a job could not be moved on");
            Ok(None)
        }
    }
}

/// Until nothing moves: the end of one job may be the start of the next.
async fn sweep(store: &Store) -> StoreResult<()> {
    loop {
        for id in store.jobs_to_feed().await? {
            alone(id, store.feed_job(id).await)?;
        }
        let mut moved = false;
        for id in store.jobs_to_settle().await? {
            moved |= alone(id, store.settle_job(id).await)?.unwrap_or_default();
        }
        for id in store.waiting_jobs().await? {
            moved |= alone(id, store.plan_job(id).await)? == Some(Planned::Moved);
        }
        if !moved {
            return Ok(());
        }
    }
}
