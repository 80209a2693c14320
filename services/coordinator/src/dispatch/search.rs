//! What workers hold besides what they are known to have: what another coordinator gave them, or a claim whose answer was lost.
//! It is looked for when a worker comes, and every now and then; by itself, since it goes over what has ended, too, as long as
//! somebody keeps an old transaction open.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::roster::{Attachment, Whom};
use crate::context::Context;
use crate::pace::Rests;
use crate::store::StoreResult;

/// How long nobody is searched for again who is known.
const REST: Range<Duration> = Duration::ZERO..Duration::from_secs(30);

/// Searches for ever: as often as workers report, and when somebody new is there.
pub(super) async fn run(context: Context) {
    let mut interval = tokio::time::interval(context.config.report_interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rests = Rests::default();
    loop {
        let searched = tokio::select! {
            _ = interval.tick() => search_for_all(&context, &mut rests).await,
            () = context.roster.newcomers.notified() => search_for_newcomers(&context).await,
        };
        match searched {
            Ok(()) => {}
            // The beat says so.
            Err(error) if error.is_outage() => tracing::debug!(%error, "nobody new is given anything"),
            Err(error) => tracing::error!(%error, "could not look for what workers hold"),
        }
    }
}

async fn search_for_all(context: &Context, rests: &mut Rests) -> StoreResult<()> {
    search_for_newcomers(context).await?;
    let begin = Instant::now();
    let due = context.roster.due_for_a_search(Whom::Known);
    search_for(context, &due).await?;
    context.roster.search_again_at(&due, Instant::now() + rests.after(begin.elapsed(), &REST));
    Ok(())
}

/// One by one: they wait for it, and none for more than what others have ended.
async fn search_for_newcomers(context: &Context) -> StoreResult<()> {
    for newcomer in context.roster.due_for_a_search(Whom::New) {
        search_for(context, &[newcomer]).await?;
    }
    Ok(())
}

async fn search_for(context: &Context, who: &[Attachment]) -> StoreResult<()> {
    if who.is_empty() {
        return Ok(());
    }
    let workers: Vec<_> = who.iter().map(Attachment::worker).collect();
    context.roster.found(who, context.store.held_by(&workers).await?);
    Ok(())
}
