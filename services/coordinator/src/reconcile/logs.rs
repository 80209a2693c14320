//! Moves log lines from the database to the object store: those of an attempt when it has ended, and earlier when they
//! are many. While the object store is away they stay where they are.

use futures::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;
use ursa_storage::{Digest, Key, StorageError, log};
use uuid::Uuid;

use super::duty;
use super::trouble::{Trouble, sweep_for_ever};
use crate::context::Context;
use crate::store::LogObject;

const DUTY: &str = "logs";
/// So many lines leave the table before their attempt has ended; and the most in one object.
const MANY: i64 = 5000;
/// The most text in one object, so that a reader can hold some of them.
const MAX_BYTES: i64 = 1 << 20;
const AT_A_TIME: usize = 4;
const IN_A_SWEEP: i64 = 100;

/// Runs until told to stop, in one coordinator at a time.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let (stuck, again) = ("log lines stay in the database for now", "log lines are archived again");
    let archive = || sweep_for_ever(&context, stuck, again, || sweep(&context));
    duty::hold(DUTY, &context, &stop, archive).await;
}

/// Until there is nothing more to move. One attempt's trouble does not keep the others; the first is told of.
async fn sweep(context: &Context) -> Result<(), Trouble> {
    loop {
        let due = context.store.attempts_to_archive(MANY, IN_A_SWEEP).await?;
        let moving = stream::iter(due).map(|attempt| move_lines(context, attempt));
        let moved: Vec<Result<bool, Trouble>> = moving.buffer_unordered(AT_A_TIME).collect().await;
        let mut more = false;
        for moved in moved {
            more |= moved?;
        }
        if !more {
            return Ok(());
        }
    }
}

/// Moves one object's worth of lines; false when somebody else did.
async fn move_lines(context: &Context, attempt: (Uuid, i32)) -> Result<bool, Trouble> {
    let lines = context.store.first_lines(attempt, MANY, MAX_BYTES).await?;
    let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(false) };
    let (first_line, last_line, count) = (first.id, last.id, lines.len() as i32);
    let packed = tokio::task::spawn_blocking(move || log::pack(&lines)).await;
    let packed = packed.map_err(|error| StorageError::Malformed { what: "log", reason: error.to_string() })??;
    let (task_id, number) = attempt;
    let (digest, bytes) = (Digest::of(&packed), packed.len() as u64);
    let key = Key::Logs { task: task_id, attempt: number as u32, digest };
    context.storage.put(&key, packed).await?;
    let object = LogObject {
        key: key.to_string(),
        sha256: digest.to_string(),
        task_id,
        attempt: number,
        first_line,
        last_line,
        lines: count,
    };
    Ok(context.store.archive_lines(&object, bytes).await?)
}
