//! Wakes tasks whose wait is over, and stops what takes longer than it may.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{LONGEST_REST, LONGEST_REST_OF_ALL, sweep_at_most_every};
use crate::context::Context;
use crate::store::{StoreResult, Topic};

/// Time passes whether tasks begin and end or not.
const REST: Duration = Duration::from_millis(100);

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let patience = context.store.patience();
    let due = || patience.with(due(&context));
    let overdue = || patience.with(overdue(&context));
    tokio::join!(
        sweep_at_most_every(REST..LONGEST_REST, "deadlines", &context, Topic::Tasks, &stop, due),
        sweep_at_most_every(REST..LONGEST_REST_OF_ALL, "running attempts", &context, Topic::Tasks, &stop, overdue),
    );
}

async fn due(context: &Context) -> StoreResult<()> {
    let store = &context.store;
    store.wake_tasks().await?;
    store.expire_tasks().await?;
    store.expire_jobs().await?;
    Ok(())
}

/// By itself: it goes over all open attempts.
async fn overdue(context: &Context) -> StoreResult<()> {
    let overdue = context.store.stop_overdue(&context.renewals.well()).await?;
    if overdue > 0 {
        tracing::info!(overdue, "asked back attempts that took longer than their jobs allow");
    }
    Ok(())
}
