//! Wakes tasks whose wait is over, and stops what takes longer than it may.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::sweep_at_most_every;
use crate::context::Context;
use crate::store::{StoreResult, Topic};

/// Time passes whether tasks begin and end or not.
const REST: Duration = Duration::from_millis(100);

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let sweep = || context.store.patience().with(sweep(&context));
    sweep_at_most_every(REST, "deadlines", &context, Topic::Tasks, &stop, sweep).await;
}

async fn sweep(context: &Context) -> StoreResult<()> {
    let store = &context.store;
    store.wake_tasks().await?;
    let overdue = store.stop_overdue().await?;
    if overdue > 0 {
        tracing::info!(overdue, "asked back attempts that took longer than their jobs allow");
    }
    store.expire_tasks().await?;
    store.expire_jobs().await?;
    Ok(())
}
