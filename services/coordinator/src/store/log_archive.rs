//! Log lines on their way from the table to the object store, and both as one sequence. What lies where is one
//! transaction's word: a line is in the table or in an object that counts, never in both, never in none.

use ursa_proto::v1;
use ursa_storage::log::LogLine;
use uuid::Uuid;

use super::{Store, StoreResult};

/// Some lines of an attempt in the object store.
#[derive(Debug, Clone)]
pub(crate) struct LogObject {
    /// Where it lies.
    pub key: String,
    /// SHA-256 of it, as stored.
    pub sha256: String,
    /// The task.
    pub task_id: Uuid,
    /// The attempt.
    pub attempt: i32,
    /// Id of the first line.
    pub first_line: i64,
    /// Id of the last line.
    pub last_line: i64,
    /// How many there are.
    pub lines: i32,
}

/// Where the lines of a page are.
#[derive(Debug)]
pub(crate) struct LogPage {
    /// Lines with a larger id may have gaps before them still.
    pub horizon: i64,
    /// Objects that may have some, by their first line.
    pub objects: Vec<LogObject>,
    /// Those in the table, by id.
    pub lines: Vec<v1::LogLine>,
}

impl Store {
    /// Where to find `limit` log lines of a job after `after_id`. Lines whose ids a slower transaction may still precede
    /// are left for later, so that whoever goes on after the last one misses none.
    pub(crate) async fn log_page(&self, job_id: Uuid, after_id: i64, limit: i64) -> StoreResult<LogPage> {
        let horizon = sqlx::query_file_scalar!("src/store/sql/log_horizon.sql", job_id).fetch_one(&self.pool).await?;
        let mut tx =
            self.patience.answer(self.pool.begin_with("begin isolation level repeatable read read only")).await??;
        let objects = sqlx::query_file_as!(LogObject, "src/store/sql/log_objects_after.sql", job_id, after_id, limit)
            .fetch_all(&mut *tx)
            .await?;
        let rows = sqlx::query!(
            "select id, at, level, message, task_id, attempt from log_lines
            where job_id = $1 and id > $2 and id <= $3 order by id limit $4",
            job_id,
            after_id,
            horizon,
            limit,
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let lines = rows.into_iter().map(|row| {
            let line = LogLine { id: row.id, at: row.at, level: row.level, message: row.message };
            log_line(line, row.task_id, row.attempt)
        });
        Ok(LogPage { horizon, objects, lines: lines.collect() })
    }

    /// Whether an object still counts.
    pub(crate) async fn has_log_object(&self, key: &str) -> StoreResult<bool> {
        let found = sqlx::query_scalar!(r#"select exists (select from log_objects where key = $1) as "e!""#, key)
            .fetch_one(&self.pool)
            .await?;
        Ok(found)
    }

    /// Attempts whose lines shall leave the table: those that have ended, or have `many` lines there.
    pub(crate) async fn attempts_to_archive(&self, many: i64, limit: i64) -> StoreResult<Vec<(Uuid, i32)>> {
        let rows =
            sqlx::query_file!("src/store/sql/attempts_to_archive.sql", many, limit).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (row.task_id, row.attempt)).collect())
    }

    /// The first lines of an attempt that are in the table: `limit` at most, and `max_bytes` of text.
    pub(crate) async fn first_lines(
        &self,
        (task_id, attempt): (Uuid, i32),
        limit: i64,
        max_bytes: i64,
    ) -> StoreResult<Vec<LogLine>> {
        let lines = sqlx::query_as!(
            LogLine,
            "select id, at, level, message from (
                select id, at, level, message,
                    sum(octet_length(message) + octet_length(level)) over (order by id) as bytes
                from (
                    select id, at, level, message from log_lines
                    where task_id = $1 and attempt = $2 order by id limit $3
                ) l
            ) counted where bytes <= $4 order by id",
            task_id,
            attempt,
            limit,
            max_bytes,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(lines)
    }

    /// Makes an object count, and takes its lines out of the table; false when they are not all there any more: somebody
    /// else was faster.
    #[tracing::instrument(skip_all, fields(key = object.key), err(level = "debug"))]
    pub(crate) async fn archive_lines(&self, object: &LogObject, bytes: u64) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let jobs = sqlx::query_scalar!(
            "delete from log_lines where task_id = $1 and attempt = $2 and id between $3 and $4 returning job_id",
            object.task_id,
            object.attempt,
            object.first_line,
            object.last_line,
        )
        .fetch_all(&mut *tx)
        .await?;
        let Some(job_id) = jobs.first().filter(|_| jobs.len() == object.lines as usize) else { return Ok(false) };
        sqlx::query!(
            "insert into log_objects (key, job_id, task_id, attempt, first_line, last_line, lines, sha256, bytes)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            object.key,
            job_id,
            object.task_id,
            object.attempt,
            object.first_line,
            object.last_line,
            object.lines,
            object.sha256,
            bytes as i64,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// A line as it is shown.
pub(crate) fn log_line(line: LogLine, task_id: Uuid, attempt: i32) -> v1::LogLine {
    v1::LogLine {
        id: line.id,
        at: Some(ursa_proto::timestamp(line.at)),
        level: line.level,
        message: line.message,
        task_id: task_id.to_string(),
        attempt: attempt as u32,
    }
}
