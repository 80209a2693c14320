//! What attempts write while they run: log lines, measurements, checkpoints. All fenced by the lease.

use chrono::{DateTime, Utc};
use ursa_domain::Lease;
use ursa_domain::run::CheckpointInfo;
use ursa_proto::v1;
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::results::check_checkpoint;
use super::tasks::check;
use super::{Store, StoreResult, Tx};

const MAX_LINE_BYTES: usize = 4096;

impl Store {
    /// Stores a batch of log lines, unless it is stored already.
    pub(crate) async fn append_logs(&self, lease: &Lease, sequence: u64, lines: &[v1::LogLine]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job_id = check(&mut tx, lease).await?;
        let fresh = sqlx::query!(
            "update attempts set last_log_sequence = $3 where task_id = $1 and number = $2 and last_log_sequence < $3",
            lease.task_id,
            lease.attempt as i32,
            sequence as i64,
        )
        .execute(&mut *tx)
        .await?;
        if fresh.rows_affected() == 0 {
            return Ok(());
        }
        let at: Vec<DateTime<Utc>> = lines.iter().map(|line| time_of(line.at.as_ref())).collect();
        let levels: Vec<String> = lines.iter().map(|line| clean(&line.level)).collect();
        let messages: Vec<String> = lines.iter().map(|line| clean(&line.message)).collect();
        sqlx::query_file!(
            "src/store/sql/append_log_lines.sql",
            job_id,
            lease.task_id,
            lease.attempt as i32,
            &at,
            &levels,
            &messages,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Stores measurements; one that is stored already is ignored. A new error rate is also an event.
    pub(crate) async fn append_metrics(&self, lease: &Lease, series: &[v1::MetricSeries]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job_id = check(&mut tx, lease).await?;
        let mut events = Vec::new();
        for one in series {
            let stored = insert_series(&mut tx, lease, job_id, one).await?;
            if one.name == "error_rate" {
                events.extend(stored.into_iter().map(|(epoch, value)| NewEvent {
                    job_id,
                    task: Some((lease.task_id, lease.attempt)),
                    kind: "epoch",
                    message: format!("epoch {}: error rate {:.1} %", epoch + 1, 100.0 * value),
                }));
            }
        }
        if !events.is_empty() {
            record(&mut tx, &events).await?;
        }
        tx.commit().await
    }

    /// Measurements of a job, by name and step. Where attempts overlap, the later one's value stands.
    pub(crate) async fn metrics(&self, job_id: Uuid, names: &[String]) -> StoreResult<Vec<v1::MetricSeries>> {
        let rows = sqlx::query!(
            "select distinct on (name, step) name, step, epoch, value from metrics
            where job_id = $1 and (cardinality($2::text[]) = 0 or name = any ($2))
            order by name, step, attempt desc",
            job_id,
            names,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut series: Vec<v1::MetricSeries> = Vec::new();
        for row in rows {
            if series.last().is_none_or(|last| last.name != row.name) {
                series.push(v1::MetricSeries { name: row.name, points: Vec::new() });
            }
            if let Some(last) = series.last_mut() {
                last.points.push(v1::MetricPoint { step: row.step as u64, epoch: row.epoch as u32, value: row.value });
            }
        }
        Ok(series)
    }

    /// Makes a checkpoint count.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn record_checkpoint(&self, lease: &Lease, checkpoint: &v1::Checkpoint) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job_id = check(&mut tx, lease).await?;
        check_checkpoint(lease, checkpoint)?;
        let stored = sqlx::query!(
            "insert into checkpoints (task_id, attempt, epoch, key, sha256, bytes, step) values ($1, $2, $3, $4, $5, $6, $7)
            on conflict do nothing",
            lease.task_id,
            lease.attempt as i32,
            checkpoint.epoch as i32,
            checkpoint.key,
            checkpoint.sha256,
            checkpoint.bytes as i64,
            checkpoint.step as i64,
        )
        .execute(&mut *tx)
        .await?;
        if stored.rows_affected() > 0 {
            let message = format!("checkpoint after batch {}, {} epochs", checkpoint.step, checkpoint.epoch);
            let task = Some((lease.task_id, lease.attempt));
            record(&mut tx, &[NewEvent { job_id, task, kind: "checkpoint", message }]).await?;
        }
        tx.commit().await
    }

    /// The checkpoint of a task with the most batches; of the newest attempt, should two have as many.
    pub(crate) async fn latest_checkpoint(&self, task_id: Uuid) -> StoreResult<Option<CheckpointInfo>> {
        let row = sqlx::query!(
            "select attempt, epoch, step, key, sha256, bytes from checkpoints where task_id = $1
            order by epoch desc, step desc, attempt desc limit 1",
            task_id,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| CheckpointInfo {
            attempt: row.attempt as u32,
            epoch: row.epoch as u32,
            step: row.step as u64,
            key: row.key,
            sha256: row.sha256,
            bytes: row.bytes as u64,
        }))
    }
}

/// Stores the points that are not stored yet, and returns (epoch, value) of those.
async fn insert_series(
    tx: &mut Tx,
    lease: &Lease,
    job_id: Uuid,
    series: &v1::MetricSeries,
) -> StoreResult<Vec<(i32, f64)>> {
    let steps: Vec<i64> = series.points.iter().map(|point| point.step as i64).collect();
    let epochs: Vec<i32> = series.points.iter().map(|point| point.epoch as i32).collect();
    let values: Vec<f64> = series.points.iter().map(|point| point.value).collect();
    let stored = sqlx::query!(
        "insert into metrics (task_id, attempt, name, step, job_id, epoch, value)
        select $1, $2, $3, m.step, $4, m.epoch, m.value
        from unnest($5::bigint[], $6::int[], $7::float8[]) as m (step, epoch, value)
        on conflict do nothing returning epoch, value",
        lease.task_id,
        lease.attempt as i32,
        series.name,
        job_id,
        &steps,
        &epochs,
        &values,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(stored.into_iter().map(|row| (row.epoch, row.value)).collect())
}

/// A worker's clock may say anything; what does not parse is the epoch.
pub(super) fn time_of(at: Option<&prost_types::Timestamp>) -> DateTime<Utc> {
    at.and_then(|at| DateTime::from_timestamp(at.seconds, at.nanos.try_into().ok()?)).unwrap_or_default()
}

/// Postgres cannot store NUL; long lines are cut at a character's boundary.
pub(super) fn clean(message: &str) -> String {
    let mut end = message.len().min(MAX_LINE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].replace('\0', "\u{fffd}")
}
