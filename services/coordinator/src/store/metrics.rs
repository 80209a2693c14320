//! Measurements as they are read.

use std::ops::RangeInclusive;

use ursa_proto::v1;
use uuid::Uuid;

use super::{Store, StoreResult};

/// Points of a series that are told: of a longer one so many, evenly, and its last. A month of batches is no message.
const TOLD: i64 = 1000;

/// A measurement of a run.
struct Row {
    name: String,
    step: i64,
    epoch: i32,
    value: f64,
}

impl Store {
    /// Measurements of a job at these steps, by name and step. Where attempts overlap, the later one's value stands.
    pub(crate) async fn metrics(
        &self,
        job_id: Uuid,
        names: &[String],
        steps: RangeInclusive<i64>,
    ) -> StoreResult<Vec<v1::MetricSeries>> {
        let rows = sqlx::query_as!(
            Row,
            "with merged as (
                select distinct on (name, step) name, step, epoch, value from metrics
                where job_id = $1 and (cardinality($2::text[]) = 0 or name = any ($2)) and step between $4 and $5
                order by name, step, attempt desc
            ),
            placed as (
                select *, row_number() over (partition by name order by step) as place,
                    count(*) over (partition by name) as count
                from merged
            )
            select name, step, epoch, value from placed
            where (place - 1) % ((count + $3 - 1) / $3) = 0 or place = count
            order by name, step",
            job_id,
            names,
            TOLD,
            *steps.start(),
            *steps.end(),
        )
        .fetch_all(&self.pool)
        .await?;
        let mut series = Vec::new();
        for row in rows {
            push(&mut series, row);
        }
        Ok(series)
    }

    /// The same, of each of its runs.
    pub(crate) async fn metrics_by_run(
        &self,
        job_id: Uuid,
        names: &[String],
        steps: RangeInclusive<i64>,
    ) -> StoreResult<Vec<v1::RunMetrics>> {
        let rows = sqlx::query!(
            r#"with merged as (
                select distinct on (task_id, name, step) task_id, name, step, epoch, value from metrics
                where job_id = $1 and (cardinality($2::text[]) = 0 or name = any ($2)) and step between $4 and $5
                order by task_id, name, step, attempt desc
            ),
            placed as (
                select *, row_number() over (partition by task_id, name order by step) as place,
                    count(*) over (partition by task_id, name) as count
                from merged
            )
            select p.name, p.step, p.epoch, p.value, t.id, t.payload #>> '{recipe,seed}' as seed,
                t.payload ->> 'train_percent' as train_percent
            from placed p join tasks t on t.id = p.task_id
            where (place - 1) % ((count + $3 - 1) / $3) = 0 or place = count
            order by t.ordinal, p.name, p.step"#,
            job_id,
            names,
            TOLD,
            *steps.start(),
            *steps.end(),
        )
        .fetch_all(&self.pool)
        .await?;
        let mut runs: Vec<v1::RunMetrics> = Vec::new();
        for row in rows {
            let task_id = row.id.to_string();
            if runs.last().is_none_or(|last| last.task_id != task_id) {
                let seed = row.seed.and_then(|seed| seed.parse().ok());
                let train_percent = row.train_percent.and_then(|percent| percent.parse().ok()).unwrap_or_default();
                runs.push(v1::RunMetrics { task_id, seed, train_percent, series: Vec::new() });
            }
            if let Some(run) = runs.last_mut() {
                push(&mut run.series, Row { name: row.name, step: row.step, epoch: row.epoch, value: row.value });
            }
        }
        Ok(runs)
    }
}

/// Adds a row to the series of its name, which is the last one or none yet.
fn push(series: &mut Vec<v1::MetricSeries>, row: Row) {
    if series.last().is_none_or(|last| last.name != row.name) {
        series.push(v1::MetricSeries { name: row.name, points: Vec::new() });
    }
    if let Some(last) = series.last_mut() {
        last.points.push(v1::MetricPoint { step: row.step as u64, epoch: row.epoch as u32, value: row.value });
    }
}
