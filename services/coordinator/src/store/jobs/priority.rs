//! How urgent jobs are: their own priority, and what they inherit of those that wait for them. `ursa_domain::inheritance`
//! says what; here it is written, and what is queued is moved into the lanes of it.

use std::collections::BTreeMap;

use ursa_domain::inheritance::inherited;
use ursa_domain::scheduling::PRIORITY_STEP;
use uuid::Uuid;

use super::super::{Store, StoreResult, Topic, Tx, ensure_rows};
use super::lock_pipeline_of;

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq)]
struct OpenJob {
    id: Uuid,
    priority: i32,
    inherited_priority: Option<i32>,
    inherited_from: Option<Uuid>,
    depends_on: Vec<Uuid>,
}

impl Store {
    /// Gives what of some jobs is not leased yet another priority, and so what those wait for; returns how many had not
    /// ended. Each pipeline is a transaction.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn prioritise_jobs(&self, ids: &[Uuid], priority: i32) -> StoreResult<u32> {
        let jobs = sqlx::query!("select id, pipeline_id from jobs where id = any ($1) order by pipeline_id", ids)
            .fetch_all(&self.pool)
            .await?;
        let mut prioritised = 0;
        for of_pipeline in jobs.chunk_by(|a, b| a.pipeline_id == b.pipeline_id) {
            let ids: Vec<Uuid> = of_pipeline.iter().map(|job| job.id).collect();
            prioritised += self.prioritise(of_pipeline[0].pipeline_id, &ids, priority).await?;
        }
        Ok(prioritised)
    }

    async fn prioritise(&self, pipeline: Uuid, ids: &[Uuid], priority: i32) -> StoreResult<u32> {
        let mut tx = self.begin().await?;
        lock_pipeline_of(&mut tx, ids[0]).await?;
        let before = open_jobs(&mut tx, pipeline).await?;
        let mut after = before.clone();
        let mut prioritised = 0;
        for job in after.iter_mut().filter(|job| ids.contains(&job.id)) {
            job.priority = priority;
            prioritised += 1;
        }
        write(&mut tx, &before, &inheriting(after)).await?;
        tx.commit().await?;
        Ok(prioritised)
    }
}

/// Has the jobs of a pipeline inherit by what has ended, and begun anew.
pub(super) async fn inherit(tx: &mut Tx, pipeline: Uuid) -> StoreResult<()> {
    let before = open_jobs(tx, pipeline).await?;
    write(tx, &before, &inheriting(before.clone())).await
}

async fn open_jobs(tx: &mut Tx, pipeline: Uuid) -> StoreResult<Vec<OpenJob>> {
    let jobs = sqlx::query_as!(
        OpenJob,
        r#"select id, priority, inherited_priority, inherited_from,
            array(select d.depends_on from job_dependencies d where d.job_id = j.id) as "depends_on!"
        from jobs j where pipeline_id = $1 and finished_at is null"#,
        pipeline,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(jobs)
}

fn inheriting(mut jobs: Vec<OpenJob>) -> Vec<OpenJob> {
    let priorities: BTreeMap<Uuid, i32> = jobs.iter().map(|job| (job.id, job.priority)).collect();
    let waits_for = |job: &OpenJob| job.depends_on.iter().map(|awaited| (job.id, *awaited)).collect::<Vec<_>>();
    let waits: Vec<(Uuid, Uuid)> = jobs.iter().flat_map(waits_for).collect();
    let inherited = inherited(&priorities, &waits);
    for job in &mut jobs {
        let of = inherited.get(&job.id);
        job.inherited_priority = of.map(|of| of.priority);
        job.inherited_from = of.map(|of| of.from);
    }
    jobs
}

/// Writes what has changed. Rows are locked in the order of those who end tasks of several jobs, but for the one that a caller
/// who ends a job has already: none of its tasks is left to end.
async fn write(tx: &mut Tx, before: &[OpenJob], after: &[OpenJob]) -> StoreResult<()> {
    let changed: Vec<&OpenJob> =
        before.iter().zip(after).filter(|(before, after)| before != after).map(|(_, after)| after).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = changed.iter().map(|job| job.id).collect();
    let inherited: Vec<Option<i32>> = changed.iter().map(|job| job.inherited_priority).collect();
    let from: Vec<Option<Uuid>> = changed.iter().map(|job| job.inherited_from).collect();
    let written = sqlx::query!(
        "with mine as materialized (select id from jobs where id = any ($1) order by id for no key update)
        update jobs j set
            priority = n.priority, inherited_priority = n.inherited_priority, inherited_from = n.inherited_from,
            policy = jsonb_set(j.policy, '{priority}', to_jsonb(n.priority))
        from mine m
        join unnest($1::uuid[], $2::integer[], $3::integer[], $4::uuid[])
            as n (id, priority, inherited_priority, inherited_from) on n.id = m.id
        where j.id = m.id",
        &ids,
        &changed.iter().map(|job| job.priority).collect::<Vec<_>>(),
        &inherited as &[Option<i32>],
        &from as &[Option<Uuid>],
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("job", &written, ids.len() as u64)?;
    // A statement of its own: it sees the tasks that others wrote while they had the jobs.
    let level = PRIORITY_STEP.as_secs_f64();
    sqlx::query_file!("src/store/sql/move_tasks.sql", &ids, level).execute(&mut **tx).await?;
    tx.hint(Topic::Tasks);
    Ok(())
}
