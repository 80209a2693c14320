//! Takes back leases that ran out, and attempts that did not stop when they were asked to. None while workers could not
//! renew and say so: see `renewals`.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{LONGEST_REST, LONGEST_REST_OF_ALL, sweep_at_most_every};
use crate::context::Context;
use crate::store::{LeaseToTakeBack, StoreResult, Topic};

/// So many times within a lease it is looked for what ran out.
const LOOKS: u32 = 20;
/// A worker that fell silent is watched for so long after its leases ran out. What it holds then, all open attempts have to be
/// looked at for.
const WATCHED: Duration = Duration::from_mins(2);

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let rest = (context.config.lease / LOOKS).min(LONGEST_REST);
    // Lost work waits for it: an answer that does not come is given up as soon as the beat's.
    let patience = context.store.patience();
    let all = || patience.with(all(&context));
    let silent = || patience.with(silent(&context));
    tokio::join!(
        sweep_at_most_every(rest..LONGEST_REST_OF_ALL, "leases", &context, Topic::Tasks, &stop, all),
        sweep_at_most_every(rest..LONGEST_REST, "leases of silent workers", &context, Topic::Tasks, &stop, silent),
    );
}

/// All that ran out, and whoever did not stop: it goes over all open attempts.
async fn all(context: &Context) -> StoreResult<()> {
    let well = context.renewals.well();
    take_back(context, context.store.leases_to_take_back(context.config.stop_grace, &well).await?).await
}

/// Those of workers that are not heard of: nearly all that runs out.
async fn silent(context: &Context) -> StoreResult<()> {
    let silence = context.config.patience()..context.config.lease + WATCHED;
    let well = context.renewals.well();
    take_back(context, context.store.leases_of_silent(silence, &well).await?).await
}

async fn take_back(context: &Context, leases: Vec<LeaseToTakeBack>) -> StoreResult<()> {
    let expired = context.store.take_back_all(leases, context.config.stop_grace, rand::random::<f64>).await?;
    if expired > 0 {
        tracing::info!(expired, "took back leases of workers that did not report, or did not stop");
    }
    Ok(())
}
