//! Forgets what is old, a little at a time: no statement here takes long or holds up anybody else.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreResult};

/// A place in the order in which jobs ended.
pub(crate) type Ended = (DateTime<Utc>, Uuid);

impl Store {
    /// Jobs that ended at least `age` ago, after the place `after`, in the order in which they did.
    pub(crate) async fn jobs_ended_before(
        &self,
        age: Duration,
        after: Option<Ended>,
        limit: i64,
    ) -> StoreResult<Vec<Ended>> {
        let (at, id) = after.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
        let rows = sqlx::query!(
            r#"select id, finished_at as "finished_at!" from jobs
            where finished_at < now() - make_interval(secs => $1) and (finished_at, id) > ($2, $3)
            order by finished_at, id limit $4"#,
            age.as_secs_f64(),
            at,
            id,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.finished_at, row.id)).collect())
    }

    /// Deletes some events of jobs; returns how many.
    pub(crate) async fn delete_events(&self, jobs: &[Uuid], limit: i64) -> StoreResult<u64> {
        let deleted = sqlx::query!(
            "delete from events where id in (select id from events where job_id = any ($1) limit $2)",
            jobs,
            limit,
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes some measurements of jobs; returns how many.
    pub(crate) async fn delete_metrics(&self, jobs: &[Uuid], limit: i64) -> StoreResult<u64> {
        let deleted = sqlx::query!(
            "delete from metrics where ctid = any (array(select ctid from metrics where job_id = any ($1) limit $2))",
            jobs,
            limit,
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Tells the older points of long series further apart: of every series of an attempt at work with more than `most`
    /// points, every second one goes that is not among the latest `dense`.
    pub(crate) async fn thin_metrics(&self, most: i64, dense: i64) -> StoreResult<()> {
        sqlx::query_file!("src/store/sql/thin_metrics.sql", most, dense).execute(&self.pool).await?;
        Ok(())
    }

    /// Deletes some log lines of jobs that are in the table; returns how many.
    pub(crate) async fn delete_log_lines(&self, jobs: &[Uuid], limit: i64) -> StoreResult<u64> {
        let deleted = sqlx::query!(
            "delete from log_lines where id in (select id from log_lines where job_id = any ($1) limit $2)",
            jobs,
            limit,
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Has some log objects of jobs count no more; returns their keys, which are among those of objects to delete from now on.
    pub(crate) async fn delete_log_objects(&self, jobs: &[Uuid], limit: i64) -> StoreResult<Vec<String>> {
        let keys = sqlx::query_scalar!(
            r#"with gone as (
                delete from log_objects where key in (select key from log_objects where job_id = any ($1) limit $2)
                returning key
            ),
            kept as (
                insert into objects_to_delete (key) select key from gone on conflict do nothing
            )
            select key as "key!" from gone"#,
            jobs,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(keys)
    }

    /// Pipelines all of whose jobs ended at least `age` ago, oldest first.
    pub(crate) async fn pipelines_ended_before(&self, age: Duration, limit: i64) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_scalar!(
            "select p.id from pipelines p
            where p.created_at < now() - make_interval(secs => $1) and not exists (
                select from jobs j where j.pipeline_id = p.id
                    and (j.finished_at is null or j.finished_at >= now() - make_interval(secs => $1)))
            order by p.created_at limit $2",
            age.as_secs_f64(),
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids)
    }

    /// Sees to it that nothing of a pipeline begins anew, and returns its jobs; `None` when one of them has, or ended less
    /// than `age` ago.
    pub(crate) async fn retire_pipeline(&self, id: Uuid, age: Duration) -> StoreResult<Option<Vec<Uuid>>> {
        let mut tx = self.begin().await?;
        let jobs = sqlx::query!(
            r#"select id, coalesce(finished_at < now() - make_interval(secs => $2), false) as "old!"
            from jobs where pipeline_id = $1 order by id for no key update"#,
            id,
            age.as_secs_f64(),
        )
        .fetch_all(&mut *tx)
        .await?;
        if jobs.iter().any(|job| !job.old) {
            return Ok(None);
        }
        sqlx::query!("update jobs set retired = true where pipeline_id = $1 and not retired", id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Some(jobs.into_iter().map(|job| job.id).collect()))
    }

    /// Deletes some tasks of retired jobs with their attempts and checkpoints; returns how many, and the checkpoints' keys,
    /// which are among those of objects to delete from now on.
    pub(crate) async fn delete_tasks(&self, jobs: &[Uuid], limit: i64) -> StoreResult<(u64, Vec<String>)> {
        let mut tx = self.begin().await?;
        let tasks = sqlx::query_scalar!(
            "select t.id from tasks t join jobs j on j.id = t.job_id where j.id = any ($1) and j.retired limit $2",
            jobs,
            limit,
        )
        .fetch_all(&mut *tx)
        .await?;
        let keys = sqlx::query_scalar!(
            r#"with gone as (delete from checkpoints where task_id = any ($1) returning key),
            kept as (insert into objects_to_delete (key) select key from gone on conflict do nothing)
            select key as "key!" from gone"#,
            &tasks,
        )
        .fetch_all(&mut *tx)
        .await?;
        sqlx::query!("delete from attempts where task_id = any ($1)", &tasks).execute(&mut *tx).await?;
        sqlx::query!("delete from tasks where id = any ($1)", &tasks).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok((tasks.len() as u64, keys))
    }

    /// Deletes a retired pipeline with its jobs, whose tasks are gone by now. Who took over the output of one has it for
    /// its own from now on.
    pub(crate) async fn delete_pipeline(&self, id: Uuid, jobs: &[Uuid]) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query!("update jobs set cached_from = null where cached_from = any ($1)", jobs).execute(&mut *tx).await?;
        sqlx::query!("update pipelines set rerun_of = null where rerun_of = $1", id).execute(&mut *tx).await?;
        sqlx::query!("update schedules set last_pipeline_id = null where last_pipeline_id = $1", id)
            .execute(&mut *tx)
            .await?;
        sqlx::query!(
            "delete from pipelines p
            where id = $1 and not exists (select from jobs j where j.pipeline_id = p.id and not j.retired)",
            id,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Deletes some deliveries that ended at least `age` ago; returns how many.
    pub(crate) async fn delete_deliveries(&self, age: Duration, limit: i64) -> StoreResult<u64> {
        let deleted = sqlx::query!(
            "delete from deliveries where id in (
                select id from deliveries
                where state <> 'pending' and coalesce(delivered_at, next_at) < now() - make_interval(secs => $1)
                limit $2)",
            age.as_secs_f64(),
            limit,
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Forgets some workers that were not seen for `age` and hold nothing; returns how many.
    pub(crate) async fn forget_workers(&self, age: Duration, limit: i64) -> StoreResult<u64> {
        let deleted = sqlx::query!(
            "delete from workers where id in (
                select id from workers w
                where last_seen_at < now() - make_interval(secs => $1)
                    and not exists (select from attempts a where a.worker_id = w.id and a.ended_at is null)
                limit $2 for update skip locked)",
            age.as_secs_f64(),
            limit,
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Forgets some nodes that were not seen for `age`; returns how many.
    pub(crate) async fn forget_nodes(&self, age: Duration, limit: i64) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let nodes = sqlx::query_scalar!(
            "select id from nodes where last_seen_at < now() - make_interval(secs => $1)
            limit $2 for update skip locked",
            age.as_secs_f64(),
            limit,
        )
        .fetch_all(&mut *tx)
        .await?;
        sqlx::query!("delete from assignments where node_id = any ($1)", &nodes).execute(&mut *tx).await?;
        let deleted = sqlx::query!("delete from nodes where id = any ($1)", &nodes).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(deleted.rows_affected())
    }
}
