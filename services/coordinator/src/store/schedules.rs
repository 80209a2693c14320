//! Schedules: kept, and fired when they are due, by the database's clock.

use chrono::{DateTime, SecondsFormat, Utc};
use prost::Message;
use sha2::{Digest, Sha256};
use ursa_domain::pipeline::{self, PipelineSpec};
use ursa_domain::schedule::{Firing, Missed, Schedule};
use ursa_proto::{ApiError, timestamp, v1};
use uuid::Uuid;

use super::projects::ensure_project;
use super::submission::{Submission, submit};
use super::{Store, StoreError, StoreResult, Topic, Tx, ensure_rows, word};

/// A schedule that was checked and is to be stored.
#[derive(Debug)]
pub(crate) struct NewSchedule<'a> {
    /// Its name.
    pub name: &'a str,
    /// As it was written.
    pub cron: &'a str,
    /// As it was written.
    pub time_zone: &'a str,
    /// What both mean.
    pub schedule: &'a Schedule,
    /// What happens to times that passed.
    pub missed: Missed,
    /// Whose pipeline it is.
    pub project: &'a str,
    /// What to submit, as the wire has it.
    pub pipeline: &'a [u8],
}

impl Store {
    /// Makes a schedule, or changes it. While its times stay the same, so does the next one.
    #[tracing::instrument(skip_all, fields(name = new.name), err(level = "debug"))]
    pub(crate) async fn put_schedule(&self, new: &NewSchedule<'_>) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        ensure_project(&mut tx, new.project).await?;
        let now = sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&mut *tx).await?;
        let next = new.schedule.first_after(now).map_err(|never| ApiError::invalid(never.to_string()))?;
        sqlx::query!(
            "insert into schedules as s (name, project, cron, time_zone, missed, pipeline, next_at)
            values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (name) do update set project = $2, cron = $3, time_zone = $4, missed = $5, pipeline = $6,
                next_at = case when s.cron = $3 and s.time_zone = $4 then s.next_at else $7 end",
            new.name,
            new.project,
            new.cron,
            new.time_zone,
            new.missed.as_str(),
            new.pipeline,
            next,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// One schedule.
    pub(crate) async fn schedule(&self, name: &str) -> StoreResult<v1::Schedule> {
        let schedule = self.select_schedules(Some(name), None, 1).await?.pop();
        Ok(schedule.ok_or_else(|| ApiError::not_found("schedule", name))?)
    }

    /// Schedules with names after `after`, in their order.
    pub(crate) async fn schedules(&self, after: Option<&str>, limit: i64) -> StoreResult<Vec<v1::Schedule>> {
        self.select_schedules(None, after, limit).await
    }

    async fn select_schedules(
        &self,
        name: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Schedule>> {
        let rows = sqlx::query!(
            "select name, cron, time_zone, missed, paused, pipeline, next_at, last_at, last_pipeline_id, last_error
            from schedules where ($1::text is null or name = $1) and ($2::text is null or name > $2)
            order by name limit $3",
            name,
            after,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        let message = |pipeline: &[u8]| {
            v1::PipelineSpec::decode(pipeline).map_err(|error| StoreError::unreadable("pipeline of a schedule", &error))
        };
        rows.into_iter()
            .map(|row| {
                Ok(v1::Schedule {
                    pipeline: Some(message(&row.pipeline)?),
                    name: row.name,
                    cron: row.cron,
                    time_zone: row.time_zone,
                    missed: row.missed,
                    paused: row.paused,
                    next_at: row.next_at.map(timestamp),
                    last_at: row.last_at.map(timestamp),
                    last_pipeline_id: row.last_pipeline_id.map(|id| id.to_string()).unwrap_or_default(),
                    last_error: row.last_error,
                })
            })
            .collect()
    }

    /// Pauses or resumes a schedule.
    pub(crate) async fn pause_schedule(&self, name: &str, paused: bool) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let result =
            sqlx::query!("update schedules set paused = $2 where name = $1", name, paused).execute(&mut *tx).await?;
        if result.rows_affected() == 0 {
            return Err(ApiError::not_found("schedule", name).into());
        }
        tx.hint(Topic::Schedules);
        tx.commit().await
    }

    /// Forgets a schedule.
    pub(crate) async fn delete_schedule(&self, name: &str) -> StoreResult<()> {
        let result = sqlx::query!("delete from schedules where name = $1", name).execute(&self.pool).await?;
        if result.rows_affected() == 0 {
            return Err(ApiError::not_found("schedule", name).into());
        }
        Ok(())
    }

    /// Names of schedules that are due, the longest first.
    pub(crate) async fn due_schedules(&self) -> StoreResult<Vec<String>> {
        let names = sqlx::query_scalar!(
            "select name from schedules where not paused and next_at <= now() order by next_at limit 1000",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(names)
    }

    /// Fires a schedule that is due: submits its pipeline, as far as that is called for, and moves it on, both or neither.
    /// Nothing happens when another coordinator is at it, or was faster.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn fire_schedule(&self, name: &str) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let due = sqlx::query!(
            r#"select cron, time_zone, missed, pipeline, next_at as "next_at!", now() as "now!" from schedules
            where name = $1 and not paused and next_at <= now() for update skip locked"#,
            name,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(due) = due else { return Ok(()) };
        let missed = word("missed-run policy", &due.missed)?;
        let (firing, unreadable) = match Schedule::parse(&due.cron, &due.time_zone) {
            Ok(schedule) => (schedule.fire(missed, due.next_at, due.now), None),
            Err(error) => (Firing { submit: None, next: None }, Some(error.to_string())),
        };
        let (pipeline, error) = match firing.submit {
            Some(at) => match submit_for(&mut tx, name, at, &due.pipeline, &self.code).await? {
                Ok(id) => (Some(id), Some(String::new())),
                Err(refusal) => (None, Some(refusal)),
            },
            None => (None, unreadable),
        };
        move_on(&mut tx, name, firing.next, pipeline, error.as_deref()).await?;
        if firing.next.is_some_and(|next| next <= due.now) {
            tx.hint(Topic::Schedules);
        }
        tx.commit().await
    }
}

/// What became of a firing. Without an `error` there was nothing to submit; an empty one says that all went well.
async fn move_on(
    tx: &mut Tx,
    name: &str,
    next: Option<DateTime<Utc>>,
    pipeline: Option<Uuid>,
    error: Option<&str>,
) -> StoreResult<()> {
    let result = sqlx::query!(
        "update schedules set next_at = $2, last_pipeline_id = coalesce($3, last_pipeline_id),
            last_at = case when $3::uuid is null then last_at else now() end, last_error = coalesce($4, last_error)
        where name = $1",
        name,
        next,
        pipeline,
        error,
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("schedule", &result, 1)
}

/// Submits the pipeline of a schedule for the time `at`. The inner error says why it was refused: the schedule goes on.
async fn submit_for(
    tx: &mut Tx,
    name: &str,
    at: DateTime<Utc>,
    pipeline: &[u8],
    code: &str,
) -> StoreResult<Result<Uuid, String>> {
    sqlx::query!("savepoint submission").execute(&mut **tx).await?;
    match try_submit(tx, name, at, pipeline, code).await {
        Ok(id) => {
            sqlx::query!("release savepoint submission").execute(&mut **tx).await?;
            Ok(Ok(id))
        }
        Err(error) if error.is_the_caller_s() => {
            sqlx::query!("rollback to savepoint submission").execute(&mut **tx).await?;
            Ok(Err(ApiError::from(error).message))
        }
        Err(error) => Err(error),
    }
}

async fn try_submit(tx: &mut Tx, name: &str, at: DateTime<Utc>, pipeline: &[u8], code: &str) -> StoreResult<Uuid> {
    let wire = v1::PipelineSpec::decode(pipeline).map_err(|error| {
        ApiError::invalid(format!("the stored pipeline cannot be read: {error}; put the schedule again"))
    })?;
    let spec = PipelineSpec::try_from(wire)?;
    pipeline::check(&spec).map_err(|error| ApiError::invalid(error.to_string()))?;
    let key = format!("schedule {name} {}", at.to_rfc3339_opts(SecondsFormat::Secs, true));
    let fingerprint = Sha256::digest(pipeline).into();
    let submission = Submission { pipeline: &spec, idempotency_key: Some(&key), rerun_of: None, fingerprint };
    let (id, _) = submit(tx, &submission, code).await?;
    Ok(id)
}
