//! Fires schedules that are due.

use tokio_util::sync::CancellationToken;

use super::sweep_on;
use crate::context::Context;
use crate::store::{Store, StoreResult, Topic};

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    sweep_on("schedules", &context, Topic::Schedules, &stop, || sweep(&context.store)).await;
}

/// One that cannot be fired does not hold up the others.
async fn sweep(store: &Store) -> StoreResult<()> {
    for name in store.due_schedules().await? {
        match store.fire_schedule(&name).await {
            Err(error) if !error.is_outage() => {
                tracing::error!(schedule = name, %error, "a schedule could not be fired; the next sweep tries again");
            }
            fired => fired?,
        }
    }
    Ok(())
}
