//! What workers hold besides what they are known to have: what another coordinator gave them, or a claim whose answer was lost.
//! It is looked for when a worker comes, and every now and then; by itself, since it goes over what has ended, too, as long as
//! somebody keeps an old transaction open.

use std::time::Duration;

use tokio::time::Instant;

use super::roster::Attachment;
use crate::context::Context;
use crate::store::StoreResult;

/// Nobody is searched for again for so many times as long as it took,
const RESTS: u32 = 20;
/// but for no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Searches for ever: as often as workers report, and at once when somebody new is there.
pub(super) async fn run(context: Context) {
    let mut interval = tokio::time::interval(context.config.report_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let patience = context.store.patience();
    let mut outage = false;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = context.roster.newcomers.notified() => {}
        }
        match patience.long().with(search(&context)).await {
            Ok(()) => outage = false,
            Err(error) if error.is_outage() => {
                if !outage {
                    tracing::warn!(%error, "nobody new is given anything: waiting for the database");
                }
                outage = true;
            }
            Err(error) => tracing::error!(%error, "could not look for what workers hold"),
        }
    }
}

async fn search(context: &Context) -> StoreResult<()> {
    let due = context.roster.due_for_a_search();
    if due.is_empty() {
        return Ok(());
    }
    let begin = Instant::now();
    let workers: Vec<_> = due.iter().map(Attachment::worker).collect();
    let held = context.store.held_by(&workers).await?;
    let rest = (begin.elapsed() * RESTS).min(LONGEST_REST).max(context.config.report_interval / 2);
    context.roster.searched(&due, held, Instant::now() + rest);
    Ok(())
}
