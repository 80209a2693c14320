//! The last stage of an attempt that does not count: what it uploaded goes, but for what rows name, such as the checkpoints
//! that the next attempt goes on from.
//!
//! It is looked at as soon as it has ended, and for the last time when uploads have had time to arrive: a write may have been
//! on its way, and a worker that is cut off does not know that its lease is gone. When one is heard of later still, it is
//! told to drop the work, and its attempt is looked at again.

use std::collections::HashSet;

use futures::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;
use ursa_storage::package::ModelPackage;
use ursa_storage::{Key, StorageError};

use super::duty;
use super::trouble::{Trouble, sweep_for_ever};
use crate::context::Context;
use crate::store::AttemptToClean;

const DUTY: &str = "cleaning";
const IN_A_SWEEP: i64 = 100;
const AT_A_TIME: usize = 8;

/// Runs until told to stop, in one coordinator at a time.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let (stuck, again) = ("uploads that do not count stay for now", "they are deleted again");
    let clean = || sweep_for_ever(&context, stuck, again, || sweep(&context));
    duty::hold(DUTY, &context, &stop, clean).await;
}

/// Until no attempt is due. One attempt's trouble does not keep the others of its batch; the first is told of.
async fn sweep(context: &Context) -> Result<(), Trouble> {
    loop {
        let due = context.store.attempts_to_clean(context.config.upload_grace, IN_A_SWEEP).await?;
        if due.is_empty() {
            return Ok(());
        }
        let cleaning = stream::iter(due).map(|attempt| clean(context, attempt));
        let cleaned: Vec<Result<(), Trouble>> = cleaning.buffer_unordered(AT_A_TIME).collect().await;
        cleaned.into_iter().collect::<Result<(), Trouble>>()?;
    }
}

/// Nothing can begin to count of an attempt that has ended, so what no row names now none ever will.
async fn clean(context: &Context, attempt: AttemptToClean) -> Result<(), Trouble> {
    let uploads = context.storage.uploads(attempt.task_id, attempt.attempt as u32).await?;
    let names: Vec<String> = uploads.iter().map(name).collect();
    let that_count = if names.is_empty() { HashSet::new() } else { context.store.named(&attempt, &names).await? };
    for (key, name) in uploads.iter().zip(&names) {
        if !that_count.contains(name) {
            delete(context, key).await?;
        }
    }
    Ok(context.store.note_cleaned(&attempt).await?)
}

/// What a row would call it.
fn name(upload: &Key) -> String {
    match upload {
        Key::PackageClaim { digest, .. } => digest.to_string(),
        key => key.to_string(),
    }
}

/// With a claim goes its package, and first: else nobody would find the rest of it any more.
async fn delete(context: &Context, upload: &Key) -> Result<(), StorageError> {
    if let Key::PackageClaim { digest, .. } = upload {
        ModelPackage::delete(&context.storage, digest).await?;
    }
    context.storage.delete(upload).await
}
