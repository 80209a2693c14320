//! Stores what is submitted, that of many callers in one transaction; and while nothing else is going on, leases it in the same
//! one, so that what is submitted to an idle system begins after one commit instead of two.

use crate::context::Context;
use crate::gathered::Gathered;
use crate::store::{ClaimedTask, Record, StoreResult, Taken, Tx, refused};

use super::rounds::AtRest;

/// Pipelines on their way in.
pub(crate) type Submissions = Gathered<Record, Taken>;

/// Stores for ever.
pub(super) async fn run(context: Context) {
    let commit = |records: Vec<Record>| {
        let context = context.clone();
        async move { store(&context, &records).await }
    };
    context.submissions.run(commit).await;
}

async fn store(context: &Context, records: &[Record]) -> Vec<Taken> {
    let Some(mut dispatcher) = AtRest::catch(context) else { return context.store.store_all(records).await };
    let (tx, taken, claimed) = match store_and_lease(context, &mut dispatcher, records).await {
        Ok(prepared) => prepared,
        Err(error) if error.is_outage() => return refused(records, error),
        Err(error) => {
            tracing::debug!(%error, "what is submitted could not be leased at once");
            drop(dispatcher);
            return context.store.store_all(records).await;
        }
    };
    // Nobody knows whether what fails now has happened.
    match tx.commit().await {
        Ok(()) => {
            dispatcher.order(claimed).await;
            taken
        }
        Err(error) => refused(records, error),
    }
}

/// Everything but the commit.
async fn store_and_lease(
    context: &Context,
    dispatcher: &mut AtRest<'_>,
    records: &[Record],
) -> StoreResult<(Tx, Vec<Taken>, Vec<ClaimedTask>)> {
    let mut tx = context.store.begin_round().await?;
    let taken = context.store.store_within(&mut tx, records).await?;
    let claimed = dispatcher.lease(&mut tx).await?;
    Ok((tx, taken, claimed))
}
