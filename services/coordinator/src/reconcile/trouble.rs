//! Trouble of those who move and delete objects: with the database or with the object store, and no reason to stop trying.

use std::future::Future;
use std::time::Duration;

use ursa_storage::StorageError;

use crate::context::Context;
use crate::store::StoreError;

const LOOK: Duration = Duration::from_secs(1);
/// After trouble.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Why a sweep did not get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Database(#[from] StoreError),
    #[error(transparent)]
    Objects(#[from] StorageError),
}

/// Sweeps for ever, and says so when it is `stuck` and when it goes on `again`.
pub(super) async fn sweep_for_ever<F, Fut>(context: &Context, stuck: &'static str, again: &'static str, sweep: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), Trouble>>,
{
    let patience = context.store.patience().long();
    let mut trouble = false;
    loop {
        let swept = patience.with(sweep()).await;
        match &swept {
            Ok(()) if trouble => tracing::info!("{again}"),
            Err(error) if !trouble => tracing::warn!(%error, "{stuck}"),
            _ => {}
        }
        trouble = swept.is_err();
        tokio::time::sleep(if trouble { LOOK_AGAIN } else { LOOK }).await;
    }
}
