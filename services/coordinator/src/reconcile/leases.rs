//! Takes back leases that ran out, wakes tasks whose wait is over, and stops what takes longer than it may.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sweep_at_most_every;
use crate::context::Context;
use crate::store::{StoreResult, Topic};

/// Time passes whether tasks begin and end or not.
const REST: Duration = Duration::from_millis(100);

/// Runs until told to stop. Leases are left alone for one lease after the start: while no coordinator was there, no
/// worker could renew.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let begun = Instant::now();
    let sweep = || sweep(&context, begun);
    sweep_at_most_every(REST, "leases", &context, Topic::Tasks, &stop, sweep).await;
}

async fn sweep(context: &Context, begun: Instant) -> StoreResult<()> {
    let store = &context.store;
    store.wake_tasks().await?;
    let overdue = store.stop_overdue().await?;
    if overdue > 0 {
        tracing::info!(overdue, "asked back attempts that took longer than their jobs allow");
    }
    store.expire_tasks().await?;
    store.expire_jobs().await?;
    if begun.elapsed() < context.config.lease {
        return Ok(());
    }
    let expired = store.expire_leases(context.config.stop_grace, rand::random::<f64>).await?;
    if expired > 0 {
        tracing::info!(expired, "took back leases of workers that did not report, or did not stop");
    }
    Ok(())
}
