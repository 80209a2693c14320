//! Log lines, from the table and from the object store, as one sequence by id.

use futures::future::try_join_all;
use prost::Message;
use tonic::Status;
use ursa_proto::{ApiError, ErrorCode, MAX_MESSAGE_BYTES, v1};
use ursa_storage::{StorageError, log};
use uuid::Uuid;

use super::refuse;
use crate::context::Context;
use crate::store::{LogObject, LogPage, log_line};

/// Objects that are read at a time; each holds so many lines that more would only cost memory.
const AT_A_TIME: usize = 4;
/// Of an answer; the rest of a message is room for its frame.
const MAX_BYTES: usize = MAX_MESSAGE_BYTES / 2;

/// At most `limit` lines of a job after `after_id`, oldest first; fewer when they are long.
pub(super) async fn list(
    context: &Context,
    job: Uuid,
    after_id: i64,
    limit: usize,
) -> Result<Vec<v1::LogLine>, Status> {
    let LogPage { horizon, objects, lines } =
        context.store.log_page(job, after_id, limit as i64).await.map_err(refuse)?;
    let mut page = Page { after_id, horizon, limit, lines };
    for some in objects.chunks(AT_A_TIME) {
        let needed = some.iter().filter(|object| page.may_need(object));
        let found = try_join_all(needed.map(|object| read(context, object))).await?;
        for lines in found {
            page.add(lines);
        }
    }
    Ok(page.fit(MAX_BYTES))
}

/// The first lines that were found so far.
struct Page {
    after_id: i64,
    horizon: i64,
    limit: usize,
    lines: Vec<v1::LogLine>,
}

impl Page {
    /// Whether an object may have a line that belongs here.
    fn may_need(&self, object: &LogObject) -> bool {
        let last = if self.lines.len() < self.limit { None } else { self.lines.last() };
        last.is_none_or(|last| object.first_line < last.id)
    }

    fn add(&mut self, lines: Vec<v1::LogLine>) {
        self.lines.extend(lines.into_iter().filter(|line| line.id > self.after_id && line.id <= self.horizon));
        self.lines.sort_by_key(|line| line.id);
        self.lines.truncate(self.limit);
    }

    /// As many as fit into `max_bytes`, but one at least.
    fn fit(mut self, max_bytes: usize) -> Vec<v1::LogLine> {
        let mut bytes = 0;
        let fitting = self.lines.iter().take_while(|line| {
            bytes += line.encoded_len();
            bytes <= max_bytes
        });
        self.lines.truncate(fitting.count().max(1));
        self.lines
    }
}

/// The lines of an object. One that is lost is said in its place, and does not keep anybody from the rest.
async fn read(context: &Context, object: &LogObject) -> Result<Vec<v1::LogLine>, Status> {
    match fetch(context, object).await {
        Ok(lines) => Ok(lines.into_iter().map(|line| log_line(line, object.task_id, object.attempt)).collect()),
        Err(error @ (StorageError::Unavailable { .. } | StorageError::PermissionDenied { .. })) => {
            let message = format!("the log's older lines cannot be read now: {error}");
            Err(ApiError::new(ErrorCode::Unavailable, message).into())
        }
        // Deleted with its job since it was listed.
        Err(_) if !context.store.has_log_object(&object.key).await.map_err(refuse)? => Ok(Vec::new()),
        Err(error) => {
            tracing::warn!(%error, task = %object.task_id, "a part of a log is lost");
            Ok(vec![lost(object, &error)])
        }
    }
}

async fn fetch(context: &Context, object: &LogObject) -> Result<Vec<log::LogLine>, StorageError> {
    let malformed = |reason: String| StorageError::Malformed { what: "log", reason };
    let digest = object.sha256.parse().map_err(|error| malformed(format!("{error}")))?;
    let bytes = context.storage.get_verified(&object.key.parse()?, &digest).await?;
    let read = tokio::task::spawn_blocking(move || log::unpack(&bytes)).await;
    read.map_err(|error| malformed(error.to_string()))?
}

/// Stands for lines that are gone, with the id of the last one.
fn lost(object: &LogObject, error: &StorageError) -> v1::LogLine {
    v1::LogLine {
        id: object.last_line,
        at: None,
        level: "error".into(),
        message: format!("{} lines are lost: {error}", object.lines),
        task_id: object.task_id.to_string(),
        attempt: object.attempt as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: i64) -> v1::LogLine {
        v1::LogLine { id, message: "x".repeat(100), ..v1::LogLine::default() }
    }

    fn ids(page: &Page) -> Vec<i64> {
        page.lines.iter().map(|line| line.id).collect()
    }

    fn page(limit: usize, lines: impl IntoIterator<Item = i64>) -> Page {
        Page { after_id: 10, horizon: 100, limit, lines: lines.into_iter().map(line).collect() }
    }

    fn object(first_line: i64) -> LogObject {
        LogObject {
            key: String::new(),
            sha256: String::new(),
            task_id: Uuid::nil(),
            attempt: 1,
            first_line,
            last_line: 200,
            lines: 3,
        }
    }

    #[test]
    fn a_page_has_the_first_lines_after_its_beginning_and_up_to_the_horizon() {
        let mut page = page(4, [15, 30, 31, 32]);
        page.add([9, 10, 11, 29, 101].map(line).into());
        assert_eq!(ids(&page), [11, 15, 29, 30]);
        page.add([12, 13].map(line).into());
        assert_eq!(ids(&page), [11, 12, 13, 15]);
    }

    #[test]
    fn what_begins_after_the_end_of_a_full_page_is_not_read() {
        let full = page(2, [15, 30]);
        assert!(full.may_need(&object(29)) && !full.may_need(&object(31)));
        assert!(page(3, [15, 30]).may_need(&object(31)));
    }

    #[test]
    fn an_answer_is_cut_where_it_gets_too_large_but_never_empty() {
        assert_eq!(page(10, 11..20).fit(usize::MAX).len(), 9);
        assert_eq!(page(10, 11..20).fit(250).len(), 2);
        assert_eq!(page(10, 11..20).fit(1).len(), 1);
        assert!(page(10, []).fit(1).is_empty());
    }
}
