//! Takes back leases that ran out, and attempts that did not stop when they were asked to.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::{LONGEST_REST, sweep_at_most_every};
use crate::context::Context;
use crate::store::{StoreResult, Topic};

/// So many times within a lease: all open attempts are looked at, or, while that takes long, those of workers that are silent.
const LOOKS: u32 = 20;

/// Those are watched for so long after their leases ran out: by then all have been looked at.
const WATCHED: Duration = Duration::from_mins(2);

/// Runs until told to stop. Leases are left alone for one lease after the start: while no coordinator was there, no
/// worker could renew.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let lease = context.config.lease;
    if stop.run_until_cancelled(tokio::time::sleep(lease)).await.is_none() {
        return;
    }
    // Lost work waits for it: an answer that does not come is given up as soon as the beat's.
    let pace = Pace::new();
    let sweep = || context.store.patience().with(sweep(&context, &pace));
    sweep_at_most_every((lease / LOOKS).min(LONGEST_REST), "leases", &context, Topic::Tasks, &stop, sweep).await;
}

async fn sweep(context: &Context, pace: &Pace) -> StoreResult<()> {
    let (store, config) = (&context.store, &context.config);
    let leases = if pace.is_due() {
        pace.keep(store.leases_to_take_back(config.stop_grace)).await?
    } else {
        store.leases_of_silent(config.patience()..config.lease + WATCHED).await?
    };
    let expired = store.take_back_all(leases, config.stop_grace, rand::random::<f64>).await?;
    if expired > 0 {
        tracing::info!(expired, "took back leases of workers that did not report, or did not stop");
    }
    Ok(())
}
