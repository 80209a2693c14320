//! What attempts write while they run: log lines, measurements. All fenced by the lease.

use chrono::{DateTime, Utc};
use ursa_domain::Lease;
use ursa_proto::v1;
use uuid::Uuid;

use super::events::{NewEvent, Of, record};
use super::fencing::check;
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
                    of: Of::Task(lease.task_id, lease.attempt),
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
pub(crate) fn clean(message: &str) -> String {
    let mut end = message.len().min(MAX_LINE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].replace('\0', "\u{fffd}")
}
