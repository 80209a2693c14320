//! Reconcilers: loops without input that look at the database and do what is due. Each is idempotent; any number of
//! coordinators may run them side by side.

mod deploy;
mod executor;
mod jobs;
mod leases;
mod snapshot;

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::Context;
use crate::hub;
use crate::store::{StoreError, StoreResult, Topic};

/// A hint may get lost; nothing waits longer than this for a sweep.
const SWEEP: Duration = Duration::from_secs(1);

/// Starts every reconciler.
pub(crate) fn start(context: &Context, tracker: &TaskTracker, stop: &CancellationToken) {
    tracker.spawn(leases::run(context.clone(), stop.clone()));
    tracker.spawn(jobs::run(context.clone(), stop.clone()));
    tracker.spawn(executor::run(context.clone(), stop.clone()));
}

/// Calls `sweep` on every wake-up of `topic` and at least every [`SWEEP`], until told to stop. An outage of the database
/// is logged when it begins and when it ends.
async fn sweep_on<F, Fut>(name: &'static str, context: &Context, topic: Topic, stop: &CancellationToken, sweep: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = StoreResult<()>>,
{
    let mut wake = context.hub.subscribe(topic);
    let mut outage = false;
    loop {
        wake.borrow_and_update();
        match sweep().await {
            Ok(()) if outage => {
                tracing::info!(name, "the database is back");
                outage = false;
            }
            Ok(()) => {}
            Err(error) => report(name, &error, &mut outage),
        }
        if stop.run_until_cancelled(hub::wait(&mut wake, SWEEP)).await.is_none() {
            return;
        }
    }
}

fn report(name: &'static str, error: &StoreError, outage: &mut bool) {
    if !error.is_outage() {
        tracing::error!(name, %error, "a sweep failed");
    } else if !*outage {
        tracing::warn!(name, %error, "waiting for the database");
        *outage = true;
    }
}
