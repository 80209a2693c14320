//! Wakes tasks whose wait is over, and stops what takes longer than it may.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::sweep_at_most_every;
use crate::context::Context;
use crate::store::{StoreResult, Topic};

/// Time passes whether tasks begin and end or not.
const REST: Duration = Duration::from_millis(100);

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let pace = Pace::new();
    let sweep = || context.store.patience().with(sweep(&context, &pace));
    sweep_at_most_every(REST, "deadlines", &context, Topic::Tasks, &stop, sweep).await;
}

async fn sweep(context: &Context, pace: &Pace) -> StoreResult<()> {
    let store = &context.store;
    store.wake_tasks().await?;
    let overdue = if pace.is_due() { pace.keep(store.stop_overdue()).await? } else { 0 };
    if overdue > 0 {
        tracing::info!(overdue, "asked back attempts that took longer than their jobs allow");
    }
    store.expire_tasks().await?;
    store.expire_jobs().await?;
    Ok(())
}
