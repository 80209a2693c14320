//! Takes back leases that ran out.

use tokio_util::sync::CancellationToken;

use super::sweep_on;
use crate::context::Context;
use crate::store::Topic;

/// Runs until told to stop. Begins one lease after the start: while no coordinator was there, no worker could renew.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    if stop.run_until_cancelled(tokio::time::sleep(context.config.lease)).await.is_none() {
        return;
    }
    let sweep = || async {
        let expired = context.store.expire_leases(rand::random::<f64>).await?;
        if expired > 0 {
            tracing::info!(expired, "took back leases of workers that did not report");
        }
        Ok(())
    };
    sweep_on("leases", &context, Topic::Tasks, &stop, sweep).await;
}
