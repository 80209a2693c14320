//! Reconcilers: loops without input that look at the database and do what is due. Each is idempotent; any number of
//! coordinators may run them side by side; what would only be done twice is a `duty` of one at a time.

mod cleaning;
mod deadlines;
mod deploy;
mod duty;
mod executor;
mod jobs;
mod leases;
pub(crate) mod leftovers;
mod logs;
mod retention;
mod schedules;
mod snapshot;
mod trouble;
mod webhooks;

pub use duty::takeover_time;

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::hub;
use crate::loops::Loops;
use crate::pace::Rests;
use crate::store::{StoreError, StoreResult, Topic};

/// A hint may get lost; nothing waits longer than this for a sweep.
const SWEEP: Duration = Duration::from_secs(1);
/// What others wait for rests no longer than this,
const LONGEST_REST: Duration = Duration::from_secs(2);
/// and what goes over all open attempts no longer than this.
const LONGEST_REST_OF_ALL: Duration = Duration::from_secs(30);

/// Starts every reconciler.
pub(crate) fn start(context: &Context, loops: &Loops) {
    let stop = loops.stop();
    loops.start(leases::run(context.clone(), stop.clone()));
    loops.start(deadlines::run(context.clone(), stop.clone()));
    loops.start(jobs::run(context.clone(), stop.clone()));
    loops.start(executor::run(context.clone(), stop.clone()));
    loops.start(logs::run(context.clone(), stop.clone()));
    loops.start(cleaning::run(context.clone(), stop.clone()));
    loops.start(retention::run(context.clone(), stop.clone()));
    loops.start(schedules::run(context.clone(), stop.clone()));
    loops.start(webhooks::run(context.clone(), stop.clone()));
}

/// Calls `sweep` on every wake-up of `topic` and at least every [`SWEEP`], until told to stop.
async fn sweep_on<F, Fut>(name: &'static str, context: &Context, topic: Topic, stop: &CancellationToken, sweep: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = StoreResult<()>>,
{
    sweep_at_most_every(Duration::ZERO..Duration::ZERO, name, context, topic, stop, sweep).await;
}

/// The same, for what need not be looked at with every commit: it rests between two sweeps, and the longer the more a sweep
/// takes, so that what grew slow does not keep the database busy. An outage is no reason to rest.
async fn sweep_at_most_every<F, Fut>(
    rest: Range<Duration>,
    name: &'static str,
    context: &Context,
    topic: Topic,
    stop: &CancellationToken,
    sweep: F,
) where
    F: Fn() -> Fut,
    Fut: Future<Output = StoreResult<()>>,
{
    let mut wake = context.hub.subscribe(topic);
    let patience = context.store.patience().long();
    let mut outage = false;
    let mut rests = Rests::default();
    loop {
        wake.borrow_and_update();
        let begin = Instant::now();
        note(name, patience.with(sweep()).await, &mut outage);
        let busy = if outage { Duration::ZERO } else { begin.elapsed() };
        let rest = rests.after(busy, &rest);
        let due = async {
            tokio::time::sleep(rest).await;
            hub::wait(&mut wake, SWEEP).await;
        };
        if stop.run_until_cancelled(due).await.is_none() {
            return;
        }
    }
}

/// Logs what went wrong in a sweep; an outage of the database when it begins and when it ends.
fn note(name: &'static str, swept: StoreResult<()>, outage: &mut bool) {
    match swept {
        Ok(()) if *outage => {
            tracing::info!(name, "the database is back");
            *outage = false;
        }
        Ok(()) => {}
        Err(error) => report(name, &error, outage),
    }
}

fn report(name: &'static str, error: &StoreError, outage: &mut bool) {
    if error.is_conflict() {
        tracing::debug!(name, %error, "a sweep ran into somebody else; the next one does it");
    } else if !error.is_outage() {
        tracing::error!(name, %error, "a sweep failed");
    } else if !*outage {
        tracing::warn!(name, %error, "waiting for the database");
        *outage = true;
    }
}
