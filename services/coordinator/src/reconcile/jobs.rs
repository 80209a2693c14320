//! Moves jobs on: starts those whose condition is fulfilled, skips those whose cannot be, feeds those that take up what
//! others commit, ends those whose tasks have ended.

use tokio_util::sync::CancellationToken;

use super::sweep_on;
use crate::context::Context;
use crate::store::{Planned, Store, StoreResult, Topic};

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    sweep_on("jobs", &context, Topic::Jobs, &stop, || sweep(&context.store)).await;
}

/// Until nothing moves: the end of one job may be the start of the next.
async fn sweep(store: &Store) -> StoreResult<()> {
    loop {
        for id in store.jobs_to_feed().await? {
            store.feed_job(id).await?;
        }
        let mut moved = false;
        for id in store.jobs_to_settle().await? {
            moved |= store.settle_job(id).await?;
        }
        for id in store.waiting_jobs().await? {
            moved |= store.plan_job(id).await? == Planned::Moved;
        }
        if !moved {
            return Ok(());
        }
    }
}
