//! Stores what is submitted, that of many callers in one transaction; and where somebody has room, leases it in the same one, so
//! that it begins after one commit instead of two.

use ursa_proto::ApiError;

use crate::context::Context;
use crate::gathered::Gathered;
use crate::store::{ClaimedTask, Record, StoreResult, Taken, Tx};

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
    let stored = async {
        match AtRest::catch(context).await {
            Some(dispatcher) => store_and_lease(context, dispatcher, records).await,
            None => context.store.store_all(records).await,
        }
    };
    match context.store.patience().with(stored).await {
        Ok(taken) => taken,
        Err(error) if error.is_outage() => {
            let error = ApiError::from(error);
            records.iter().map(|_| Err(error.clone())).collect()
        }
        // Whoever is at fault is not the others' concern.
        Err(error) => {
            tracing::debug!(%error, "what was submitted is not stored together: each tries by itself");
            records.iter().map(|_| Ok(None)).collect()
        }
    }
}

async fn store_and_lease(context: &Context, mut dispatcher: AtRest<'_>, records: &[Record]) -> StoreResult<Vec<Taken>> {
    let mut tx = context.store.begin_round().await?;
    match write(context, &mut dispatcher, &mut tx, records).await {
        Ok((taken, claimed)) => {
            tx.commit().await?;
            dispatcher.order(claimed).await;
            Ok(taken)
        }
        Err(error) => {
            // Where that fails, the connection is closed, which does the same.
            let _ = tx.undo().await;
            Err(error)
        }
    }
}

async fn write(
    context: &Context,
    dispatcher: &mut AtRest<'_>,
    tx: &mut Tx,
    records: &[Record],
) -> StoreResult<(Vec<Taken>, Vec<ClaimedTask>)> {
    let taken = context.store.store_within(tx, records).await?;
    let new = records.iter().map(Record::tasks).sum();
    Ok((taken, dispatcher.lease(tx, new).await?))
}
