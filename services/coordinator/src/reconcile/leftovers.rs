//! Deletes objects that nothing names any more. A row holds each one's key until it is gone, so that none is forgotten.

use futures::future;
use futures::stream::{self, StreamExt as _};
use ursa_storage::Key;

use crate::context::Context;
use crate::store::StoreResult;

const AT_A_TIME: i64 = 100;
const DELETIONS_AT_A_TIME: usize = 8;

/// Deletes all there are, unless the store is away: then the next one who comes by does.
pub(crate) async fn delete(context: &Context) -> StoreResult<()> {
    loop {
        let keys = context.store.objects_to_delete(AT_A_TIME).await?;
        if keys.is_empty() || !delete_these(context, keys).await? {
            return Ok(());
        }
    }
}

/// Deletes some of those objects, and forgets the keys of those that are gone; whether all of them are.
pub(super) async fn delete_these(context: &Context, keys: Vec<String>) -> StoreResult<bool> {
    let count = keys.len();
    if count == 0 {
        return Ok(true);
    }
    let gone: Vec<String> = stream::iter(keys)
        .map(|key| async move { delete_object(context, &key).await.then_some(key) })
        .buffer_unordered(DELETIONS_AT_A_TIME)
        .filter_map(future::ready)
        .collect()
        .await;
    context.store.forget_objects(&gone).await?;
    Ok(gone.len() == count)
}

/// Whether the object is gone, or is none that there could be.
async fn delete_object(context: &Context, key: &str) -> bool {
    let deleted = match key.parse::<Key>() {
        Ok(key) => context.storage.delete(&key).await,
        Err(error) => {
            tracing::warn!(%error, key, "a key that is none cannot be deleted");
            return true;
        }
    };
    if let Err(error) = &deleted {
        tracing::debug!(%error, key, "an object that nothing names any more could not be deleted");
    }
    deleted.is_ok()
}
