//! What is asked of many jobs at once, and about why they wait.

use chrono::{DateTime, Utc};
use ursa_domain::JobKind;
use ursa_domain::lifecycle::job::JobState;
use ursa_domain::scheduling::Resources;
use uuid::Uuid;

use super::{Store, StoreError, StoreResult, word};

/// Jobs by what they are; `None` is any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobFilter<'a> {
    /// Of this project.
    pub project: Option<&'a str>,
    /// Of this pipeline.
    pub pipeline: Option<Uuid>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// In this state.
    pub state: Option<JobState>,
    /// Whose name begins so.
    pub name_prefix: Option<&'a str>,
    /// Submitted before.
    pub submitted_before: Option<DateTime<Utc>>,
    /// Submitted at or after.
    pub submitted_after: Option<DateTime<Utc>>,
}

/// What a job's ready tasks need.
#[derive(Debug)]
pub(crate) struct ReadyLane {
    /// The lane's id.
    pub id: i32,
    /// Their kind.
    pub kind: JobKind,
    /// What each needs of a worker.
    pub resources: Resources,
    /// Tasks that are leased together.
    pub gang: u32,
}

impl Store {
    /// Ids of the jobs that a filter finds, newest first.
    pub(crate) async fn find_jobs(
        &self,
        filter: &JobFilter<'_>,
        before: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_scalar!(
            "select id from jobs
            where ($1::text is null or project = $1) and ($2::uuid is null or pipeline_id = $2)
                and ($3::text is null or kind = $3) and ($4::text is null or state = $4)
                and ($5::text is null or starts_with(name, $5)) and ($6::timestamptz is null or created_at < $6)
                and ($7::timestamptz is null or created_at >= $7) and ($8::uuid is null or id < $8)
            order by id desc limit $9",
            filter.project,
            filter.pipeline,
            filter.kind.map(JobKind::as_str),
            filter.state.map(JobState::as_str),
            filter.name_prefix,
            filter.submitted_before,
            filter.submitted_after,
            before,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        Ok(ids)
    }

    /// Whether none of the `idle` tasks of a job that nobody is at work on has to be looked for among those that are ready.
    /// Where a job may have only some at a time, the others are taken to wait for those, even if some are ready.
    pub(crate) async fn is_none_ready(&self, job: Uuid, idle: i64) -> StoreResult<bool> {
        let is_none = sqlx::query_scalar!(
            r#"select exists (select from tasks where job_id = $1 and state = 'waiting')
                or (select count(*) from tasks where job_id = $1 and state = 'retry_wait') >= $2 as "is_none!""#,
            job,
            idle,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(is_none)
    }

    /// What the last ready task of a job needs; `None` when none is ready. The first ones are soon done, and not looked at.
    pub(crate) async fn ready_lane(&self, job: Uuid) -> StoreResult<Option<ReadyLane>> {
        let row = sqlx::query!(
            "select l.id, l.kind, l.resources, l.gang from tasks t join lanes l on l.id = t.lane_id
            where t.job_id = $1 and t.state = 'ready' order by t.ordinal desc limit 1",
            job,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(ReadyLane {
                id: row.id,
                kind: word("job kind", &row.kind)?,
                resources: serde_json::from_value(row.resources)
                    .map_err(|error| StoreError::unreadable("resources", &error))?,
                gang: row.gang as u32,
            })
        })
        .transpose()
    }

    /// When the next task of a job comes back after a failed attempt; `None` when none does.
    pub(crate) async fn next_wake(&self, job: Uuid) -> StoreResult<Option<DateTime<Utc>>> {
        let at = sqlx::query_scalar!("select min(ready_at) from tasks where job_id = $1 and state = 'retry_wait'", job)
            .fetch_one(&self.pool)
            .await?;
        Ok(at)
    }
}
