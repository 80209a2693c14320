//! Workers as they last reported.

use std::time::Duration;

use serde_json::Value;
use ursa_proto::v1;
use uuid::Uuid;

use super::{Store, StoreResult};

/// What a worker says of itself.
#[derive(Debug)]
pub(crate) struct WorkerReportRow<'a> {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: &'a str,
    /// Version of its software.
    pub version: &'a str,
    /// Tasks it can work on at a time.
    pub slots: u32,
    /// Its GPUs, as stored.
    pub gpus: Value,
    /// Whether it is the coordinator's own executor.
    pub internal: bool,
}

impl Store {
    /// Notes that a worker is there.
    pub(crate) async fn see_worker(&self, worker: &WorkerReportRow<'_>) -> StoreResult<()> {
        sqlx::query!(
            "insert into workers (id, name, version, slots, gpus, internal) values ($1, $2, $3, $4, $5, $6)
            on conflict (id) do update set name = $2, version = $3, slots = $4, gpus = $5, last_seen_at = now()",
            worker.id,
            worker.name,
            worker.version,
            worker.slots as i32,
            worker.gpus,
            worker.internal,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Workers seen in the last day; one that did not report for `patience` is offline.
    pub(crate) async fn workers(&self, patience: Duration) -> StoreResult<Vec<v1::Worker>> {
        let rows = sqlx::query!(
            r#"select id, name, version, slots, gpus, last_seen_at,
                last_seen_at > now() - make_interval(secs => $1) as "online!",
                (select count(*) from tasks t where t.worker_id = w.id and t.state = 'leased') as "running!"
            from workers w where not internal and last_seen_at > now() - interval '1 day' order by name, id"#,
            patience.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::Worker {
                id: row.id.to_string(),
                name: row.name,
                state: if row.online { "online" } else { "offline" }.into(),
                version: row.version,
                slots: row.slots as u32,
                running: row.running as u32,
                gpus: gpus_from(&row.gpus),
                last_seen_at: Some(ursa_proto::timestamp(row.last_seen_at)),
            })
            .collect())
    }
}

/// GPUs as stored.
pub(crate) fn gpus_to(gpus: &[v1::Gpu]) -> Value {
    gpus.iter().map(|gpu| serde_json::json!({"model": gpu.model, "memory_bytes": gpu.memory_bytes})).collect()
}

fn gpus_from(stored: &Value) -> Vec<v1::Gpu> {
    let gpus = stored.as_array().map(Vec::as_slice).unwrap_or_default();
    gpus.iter()
        .map(|gpu| v1::Gpu {
            model: gpu["model"].as_str().unwrap_or_default().to_owned(),
            memory_bytes: gpu["memory_bytes"].as_u64().unwrap_or_default(),
        })
        .collect()
}
