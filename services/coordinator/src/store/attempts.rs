//! Tasks and their attempts, as they are shown.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use ursa_domain::ErrorClass;
use ursa_proto::{timestamp, v1};
use uuid::Uuid;

use super::{Store, StoreResult, word};

/// Which tasks are wanted; `None` is any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TaskQuery<'a> {
    /// Of this job.
    pub job: Option<Uuid>,
    /// In this state.
    pub state: Option<&'a str>,
    /// Of this project.
    pub project: Option<&'a str>,
    /// After this place: job, newest first, and ordinal.
    pub after: Option<(Uuid, i32)>,
}

struct TaskRow {
    id: Uuid,
    job_id: Uuid,
    ordinal: i32,
    state: String,
    ready_at: DateTime<Utc>,
    units: i64,
    unit: String,
}

/// How far a task is: as its open attempt says, or by its state.
fn progress(row: &TaskRow, said: Option<&v1::Progress>) -> v1::Progress {
    let units = row.units as u64;
    let done = if row.state == "succeeded" { units } else { 0 };
    let by_state = || v1::Progress { done, total: units, unit: row.unit.clone(), message: String::new() };
    match (row.state.as_str(), said) {
        ("leased" | "running", Some(said)) => said.clone(),
        _ => by_state(),
    }
}

impl Store {
    /// Tasks with their attempts, by job, newest first, and place.
    pub(crate) async fn tasks(&self, query: &TaskQuery<'_>, limit: i64) -> StoreResult<Vec<v1::Task>> {
        let (after_job, after_ordinal) = query.after.unzip();
        let rows = sqlx::query_file_as!(
            TaskRow,
            "src/store/sql/select_tasks.sql",
            query.job,
            query.state,
            query.project,
            after_job,
            after_ordinal,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let mut attempts: HashMap<Uuid, Vec<(v1::Attempt, v1::Progress)>> = HashMap::new();
        for (task, attempt, progress) in self.attempts(&ids).await? {
            attempts.entry(task).or_default().push((attempt, progress));
        }
        let task = |row: TaskRow| {
            let mine = attempts.remove(&row.id).unwrap_or_default();
            let progress = progress(&row, mine.last().map(|(_, progress)| progress));
            v1::Task {
                id: row.id.to_string(),
                ordinal: row.ordinal as u32,
                state: row.state,
                progress: Some(progress),
                attempts: mine.into_iter().map(|(attempt, _)| attempt).collect(),
                ready_at: Some(timestamp(row.ready_at)),
                job_id: row.job_id.to_string(),
            }
        };
        Ok(rows.into_iter().map(task).collect())
    }

    /// The attempts of some tasks, oldest first, and how far each is.
    async fn attempts(&self, tasks: &[Uuid]) -> StoreResult<Vec<(Uuid, v1::Attempt, v1::Progress)>> {
        let rows = sqlx::query!(
            "select task_id, number, state, worker_name, error_class, error, gpus, leased_at, acknowledged_at, ended_at,
                fenced_at, cleaned_at, stop_reason, stop_asked_at, stop_acknowledged_at, stop_forced_at,
                progress_done, progress_total, progress_unit, progress_message
            from attempts where task_id = any ($1) order by task_id, number",
            tasks,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let class =
                    row.error_class.as_deref().map(|class| word::<ErrorClass>("error class", class)).transpose()?;
                // How it ended stays as it was written; that its worker came back says more.
                let class = match class {
                    Some(ErrorClass::Infrastructure) if row.fenced_at.is_some() => Some(ErrorClass::Fenced),
                    class => class,
                };
                let stop = row.stop_reason.map(|reason| v1::StopStages {
                    reason,
                    asked_at: row.stop_asked_at.map(timestamp),
                    acknowledged_at: row.stop_acknowledged_at.map(timestamp),
                    forced_at: row.stop_forced_at.map(timestamp),
                });
                let attempt = v1::Attempt {
                    number: row.number as u32,
                    state: row.state,
                    worker_name: row.worker_name,
                    error_class: class.map_or(v1::ErrorClass::Unspecified, Into::into).into(),
                    error: row.error,
                    started_at: Some(timestamp(row.leased_at)),
                    ended_at: row.ended_at.map(timestamp),
                    gpus: row.gpus.iter().map(|gpu| *gpu as u32).collect(),
                    acknowledged_at: row.acknowledged_at.map(timestamp),
                    stop,
                    cleaned_at: row.cleaned_at.map(timestamp),
                };
                let progress = v1::Progress {
                    done: row.progress_done as u64,
                    total: row.progress_total as u64,
                    unit: row.progress_unit,
                    message: row.progress_message,
                };
                Ok((row.task_id, attempt, progress))
            })
            .collect()
    }
}
