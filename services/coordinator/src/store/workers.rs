//! Workers as they last reported.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ursa_domain::JobKind;
use ursa_domain::scheduling::{GpuOffer, GpuUse, Offer, Resources};
use ursa_proto::{ApiError, v1};
use uuid::Uuid;

use super::{Store, StoreError, StoreResult, Topic};

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub(crate) struct WorkerReportRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Version of its software.
    pub version: String,
    /// Version of the code that does its work; empty where it does not say.
    pub code_version: String,
    /// Tasks it can work on at a time.
    pub slots: u32,
    /// Kinds of task it takes.
    pub kinds: Vec<JobKind>,
    /// Its GPUs.
    pub gpus: Vec<v1::Gpu>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it takes no more.
    pub draining: bool,
    /// Whether it is the coordinator's own executor.
    pub internal: bool,
}

/// A GPU as stored.
#[derive(Debug, Serialize, Deserialize)]
struct StoredGpu {
    index: u32,
    model: String,
    memory_bytes: u64,
    free_bytes: u64,
    driver: String,
    utilisation_percent: Option<u32>,
}

impl Store {
    /// One worker; one that did not report for `patience` is offline.
    pub(crate) async fn worker(&self, id: Uuid, patience: Duration) -> StoreResult<v1::Worker> {
        let worker = self.select_workers(Some(id), None, 1, patience).await?.pop();
        Ok(worker.ok_or_else(|| ApiError::not_found("worker", id))?)
    }

    /// Workers seen in the last day after a place in their order, which is by name and id. One that did not report for
    /// `patience` is offline.
    pub(crate) async fn workers(
        &self,
        after: Option<&(String, Uuid)>,
        limit: i64,
        patience: Duration,
    ) -> StoreResult<Vec<v1::Worker>> {
        self.select_workers(None, after, limit, patience).await
    }

    async fn select_workers(
        &self,
        id: Option<Uuid>,
        after: Option<&(String, Uuid)>,
        limit: i64,
        patience: Duration,
    ) -> StoreResult<Vec<v1::Worker>> {
        let rows = sqlx::query!(
            r#"select id, name, version, slots, kinds, gpus, labels, last_seen_at, draining or drain as "draining!",
                last_seen_at > now() - make_interval(secs => $1) as "online!",
                (select count(*) from attempts a where a.worker_id = w.id and a.ended_at is null) as "running!"
            from workers w
            where not internal and (id = $2 or ($2::uuid is null and last_seen_at > now() - interval '1 day'))
                and ($3::text is null or (name, id) > ($3, $4::uuid))
            order by name, id limit $5"#,
            patience.as_secs_f64(),
            id,
            after.map(|(name, _)| name.as_str()),
            after.map(|(_, id)| *id),
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(v1::Worker {
                    id: row.id.to_string(),
                    name: row.name,
                    state: if row.online { "online" } else { "offline" }.into(),
                    version: row.version,
                    slots: row.slots as u32,
                    running: row.running as u32,
                    gpus: gpus_from(row.gpus)?,
                    last_seen_at: Some(ursa_proto::timestamp(row.last_seen_at)),
                    labels: read("labels", row.labels)?,
                    kinds: row.kinds,
                    draining: row.draining,
                })
            })
            .collect()
    }

    /// Has a worker take no more tasks, or take some again.
    pub(crate) async fn drain_worker(&self, id: Uuid, drain: bool) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let result = sqlx::query!("update workers set drain = $2 where id = $1 and not internal", id, drain)
            .execute(&mut *tx)
            .await?;
        if result.rows_affected() == 0 {
            return Err(ApiError::not_found("worker", id).into());
        }
        tx.hint(Topic::Tasks);
        tx.commit().await
    }

    /// What every worker that reported within `patience` has to offer, whichever coordinator it is attached to.
    pub(crate) async fn offers(&self, patience: Duration) -> StoreResult<Vec<Offer>> {
        let rows = sqlx::query!(
            r#"select id, slots, kinds, gpus, labels, draining or drain as "draining!",
                coalesce((
                    select jsonb_agg(jsonb_build_object('kind', l.kind, 'resources', l.resources, 'gpus', a.gpus))
                    from attempts a join tasks t on t.id = a.task_id join lanes l on l.id = t.lane_id
                    where a.worker_id = w.id and a.ended_at is null), '[]') as "held!"
            from workers w where not internal and last_seen_at > now() - make_interval(secs => $1) order by id"#,
            patience.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                // A worker of a later version may know of more, and hold it.
                let kinds = row.kinds.iter().filter_map(|kind| super::word("job kind", kind).ok()).collect();
                let held: Vec<Value> = read("held tasks", row.held)?;
                let slots = (row.slots as u32).saturating_sub(held.len() as u32);
                let held: Vec<HeldTask> =
                    held.into_iter().filter_map(|task| serde_json::from_value(task).ok()).collect();
                let gpus = gpus_from(row.gpus)?.iter().map(|gpu| gpu_offer(gpu, &held)).collect();
                Ok(Offer {
                    id: row.id,
                    kinds,
                    slots,
                    draining: row.draining,
                    labels: read("labels", row.labels)?,
                    gpus,
                    cpu_training: !held.iter().any(|task| task.kind.learns() && task.gpus.is_empty()),
                })
            })
            .collect()
    }
}

/// What a worker has at work, as far as its room goes.
#[derive(Debug, serde::Deserialize)]
struct HeldTask {
    kind: JobKind,
    resources: Resources,
    gpus: Vec<u32>,
}

fn gpu_offer(gpu: &v1::Gpu, held: &[HeldTask]) -> GpuOffer {
    let mine = held.iter().filter(|task| task.gpus.contains(&gpu.index));
    GpuOffer {
        index: gpu.index,
        model: gpu.model.clone(),
        memory_bytes: gpu.memory_bytes,
        free_bytes: gpu.free_bytes,
        driver: gpu.driver.clone(),
        used: mine.fold(GpuUse::Free, |used, task| used.lend(&task.resources)),
    }
}

pub(super) fn stored(value: &impl Serialize) -> StoreResult<Value> {
    serde_json::to_value(value).map_err(|error| StoreError::unreadable("worker", &error))
}

fn read<T: serde::de::DeserializeOwned>(what: &'static str, stored: Value) -> StoreResult<T> {
    serde_json::from_value(stored).map_err(|error| StoreError::unreadable(what, &error))
}

pub(super) fn gpus_to(gpus: &[v1::Gpu]) -> StoreResult<Value> {
    let gpus: Vec<_> = gpus
        .iter()
        .map(|gpu| StoredGpu {
            index: gpu.index,
            model: gpu.model.clone(),
            memory_bytes: gpu.memory_bytes,
            free_bytes: gpu.free_bytes,
            driver: gpu.driver.clone(),
            utilisation_percent: gpu.utilisation_percent,
        })
        .collect();
    stored(&gpus)
}

fn gpus_from(stored: Value) -> StoreResult<Vec<v1::Gpu>> {
    let gpus: Vec<StoredGpu> = read("GPUs of a worker", stored)?;
    Ok(gpus
        .into_iter()
        .map(|gpu| v1::Gpu {
            model: gpu.model,
            memory_bytes: gpu.memory_bytes,
            free_bytes: gpu.free_bytes,
            driver: gpu.driver,
            index: gpu.index,
            utilisation_percent: gpu.utilisation_percent,
        })
        .collect())
}
