//! Checkpoints: which count, and which ones a run may go on from.

use ursa_domain::Lease;
use ursa_domain::checkpoints::{KeepCheckpoints, better};
use ursa_domain::run::CheckpointInfo;
use ursa_domain::spec::CheckpointRef;
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use super::events::{NewEvent, Of, record};
use super::fencing::check;
use super::results::check_checkpoint;
use super::{Store, StoreError, StoreResult, Tx};

/// Checkpoints that a run is told to go on from: where so many are damaged, more of them are no help.
const TOLD: i64 = 20;

/// A row as it is in the table.
struct Row {
    attempt: i32,
    epoch: i32,
    step: i64,
    key: String,
    sha256: String,
    bytes: i64,
    error_rate: Option<f64>,
}

impl From<Row> for CheckpointInfo {
    fn from(row: Row) -> Self {
        Self {
            attempt: row.attempt as u32,
            epoch: row.epoch as u32,
            step: row.step as u64,
            key: row.key,
            sha256: row.sha256,
            bytes: row.bytes as u64,
            error_rate: row.error_rate,
        }
    }
}

impl Store {
    /// Makes a checkpoint count.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn record_checkpoint(&self, lease: &Lease, checkpoint: &v1::Checkpoint) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job_id = check(&mut tx, lease).await?;
        check_checkpoint(lease, checkpoint)?;
        let stored = sqlx::query!(
            "insert into checkpoints (task_id, attempt, epoch, key, sha256, bytes, step, error_rate)
            values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
            lease.task_id,
            lease.attempt as i32,
            checkpoint.epoch as i32,
            checkpoint.key,
            checkpoint.sha256,
            checkpoint.bytes as i64,
            checkpoint.step as i64,
            checkpoint.error_rate,
        )
        .execute(&mut *tx)
        .await?;
        if stored.rows_affected() > 0 {
            let message = format!("checkpoint after batch {}, {} epochs", checkpoint.step, checkpoint.epoch);
            let of = Of::Task(lease.task_id, lease.attempt);
            supersede(&mut tx, job_id, lease.task_id).await?;
            record(&mut tx, &[NewEvent { job_id, of, kind: "checkpoint", message }]).await?;
        }
        tx.commit().await
    }

    /// What the runs of a job can go on from, by task and batch.
    pub(crate) async fn kept_checkpoints(&self, job_id: Uuid, limit: i64) -> StoreResult<Vec<v1::KeptCheckpoint>> {
        let rows = sqlx::query!(
            "select c.task_id, c.attempt, c.epoch, c.step, c.error_rate, c.bytes
            from checkpoints c join tasks t on t.id = c.task_id
            where t.job_id = $1 order by t.ordinal, c.epoch, c.step, c.attempt limit $2",
            job_id,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        let kept = rows.into_iter().map(|row| v1::KeptCheckpoint {
            task_id: row.task_id.to_string(),
            attempt: row.attempt as u32,
            epochs: row.epoch as u32,
            step: row.step as u64,
            error_rate: row.error_rate,
            bytes: row.bytes as u64,
        });
        Ok(kept.collect())
    }

    /// Keys of objects that nothing names any more, some at a time.
    pub(crate) async fn objects_to_delete(&self, limit: i64) -> StoreResult<Vec<String>> {
        let keys = sqlx::query_scalar!("select key from objects_to_delete order by since limit $1", limit)
            .fetch_all(&self.pool)
            .await?;
        Ok(keys)
    }

    /// Notes that these objects are gone.
    pub(crate) async fn forget_objects(&self, keys: &[String]) -> StoreResult<()> {
        sqlx::query!("delete from objects_to_delete where key = any ($1)", keys).execute(&self.pool).await?;
        Ok(())
    }

    /// The checkpoints of a task, those with the most batches first; of the newest attempt, should two have as many.
    pub(crate) async fn latest_checkpoints(&self, task_id: Uuid) -> StoreResult<Vec<CheckpointInfo>> {
        let rows = sqlx::query_as!(
            Row,
            "select attempt, epoch, step, key, sha256, bytes, error_rate from checkpoints where task_id = $1
            order by epoch desc, step desc, attempt desc limit $2",
            task_id,
            TOLD,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(CheckpointInfo::from).collect())
    }
}

/// Has those checkpoints of a run count no more that its job does not want to be kept.
async fn supersede(tx: &mut Tx, job_id: Uuid, task_id: Uuid) -> StoreResult<()> {
    let policy = sqlx::query_scalar!("select spec -> 'keep_checkpoints' from jobs where id = $1", job_id)
        .fetch_one(&mut **tx)
        .await?;
    let policy: KeepCheckpoints = policy
        .map_or(Ok(KeepCheckpoints::default()), serde_json::from_value)
        .map_err(|error| StoreError::unreadable("job specification", &error))?;
    let all: Vec<CheckpointInfo> = sqlx::query_as!(
        Row,
        "select attempt, epoch, step, key, sha256, bytes, error_rate from checkpoints where task_id = $1",
        task_id,
    )
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .map(CheckpointInfo::from)
    .collect();
    let keys: Vec<String> = policy.superseded(&all).into_iter().map(|place| all[place].key.clone()).collect();
    sqlx::query!(
        "with superseded as (delete from checkpoints where task_id = $1 and key = any ($2) returning key)
        insert into objects_to_delete (key) select key from superseded on conflict do nothing",
        task_id,
        &keys,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The checkpoint that `wanted` means of the run with this seed and share of the training side.
pub(super) async fn named_checkpoint(
    tx: &mut Tx,
    wanted: &CheckpointRef,
    train_percent: u32,
    seed: u64,
) -> StoreResult<CheckpointInfo> {
    let kept = kept(tx, wanted.job, train_percent, seed).await?;
    let is_meant = |one: &&CheckpointInfo| wanted.epochs.is_none_or(|epochs| one.epoch == epochs);
    let found = kept.iter().filter(is_meant).min_by(|one, other| better(one, other));
    found.cloned().ok_or_else(|| {
        let run = format!("the run of job {} with seed {seed} on {train_percent} % of the data", wanted.job);
        let message = match (wanted.epochs, &kept[..]) {
            (_, []) => format!("checkpoint: there is none of {run}: leave it out to start afresh"),
            (epochs, kept) => format!(
                "checkpoint: there is none after {} epochs of {run}; there are after {} epochs",
                epochs.unwrap_or_default(),
                kept.iter().map(|one| one.epoch.to_string()).collect::<Vec<_>>().join(", ")
            ),
        };
        ApiError::new(ErrorCode::NotFound, message).into()
    })
}

/// The checkpoints of a job's run, or of the run whose output it took over.
async fn kept(tx: &mut Tx, job: Uuid, train_percent: u32, seed: u64) -> StoreResult<Vec<CheckpointInfo>> {
    let rows = sqlx::query_as!(
        Row,
        "select c.attempt, c.epoch, c.step, c.key, c.sha256, c.bytes, c.error_rate
        from jobs j
        join tasks t on t.job_id = coalesce(j.cached_from, j.id)
        join checkpoints c on c.task_id = t.id
        where j.id = $1 and t.payload ->> 'train_percent' = $2 and t.payload #>> '{recipe,seed}' = $3
        order by c.epoch, c.step, c.attempt desc",
        job,
        train_percent.to_string(),
        seed.to_string(),
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut kept: Vec<_> = rows.into_iter().map(CheckpointInfo::from).collect();
    kept.extend(begun_with(tx, job, train_percent, seed).await?);
    Ok(kept)
}

/// What the run itself went on from: where nothing it learned was good, that still is.
async fn begun_with(tx: &mut Tx, job: Uuid, train_percent: u32, seed: u64) -> StoreResult<Option<CheckpointInfo>> {
    let start = sqlx::query_scalar!(
        r#"select t.payload -> 'start' as "start!" from jobs j join tasks t on t.job_id = coalesce(j.cached_from, j.id)
        where j.id = $1 and t.payload ->> 'train_percent' = $2 and t.payload #>> '{recipe,seed}' = $3
            and jsonb_typeof(t.payload -> 'start') = 'object'"#,
        job,
        train_percent.to_string(),
        seed.to_string(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    start.map(serde_json::from_value).transpose().map_err(|error| StoreError::unreadable("train task", &error))
}
