//! Claims: ready tasks are leased to workers that have room. From then on `leases` keeps them.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgExecutor;
use ursa_domain::Lease;
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use uuid::Uuid;

use super::events::MANY;
use super::lanes::Mark;
use super::projects::lock_quotas;
use super::{Store, StoreResult, Topic, Tx};

/// A place for one task: what the scheduler found.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Which lane the task shall come from.
    pub lane: i32,
    /// Whose lane it is.
    pub project: String,
    /// Who shall work on it.
    pub worker: Uuid,
    /// The worker's name.
    pub worker_name: String,
    /// The version of the worker's code; empty where nobody knows.
    pub code_version: String,
    /// With which of its GPUs.
    pub gpus: Vec<u32>,
    /// Where to begin in the lane.
    pub from: Mark,
}

/// A task that was just leased.
#[derive(Debug, Clone)]
pub(crate) struct ClaimedTask {
    /// The right to work on it.
    pub lease: Lease,
    /// Its job.
    pub job_id: Uuid,
    /// Where it came from.
    pub lane: i32,
    /// What planning wrote for whoever works on it.
    pub payload: Value,
    /// Who has it.
    pub worker: Uuid,
    /// GPUs it may use.
    pub gpus: Vec<u32>,
    /// Whether it may be asked back for a more urgent one.
    pub preemptible: bool,
}

impl Store {
    /// Leases the next task of each place's lane for `ttl`. Places whose lane has no more, or whose project's quota is used
    /// up by now, stay empty. Where no project has a quota, one statement is all it takes; where one is given to a project
    /// meanwhile, nothing is leased.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn claim(&self, places: &[Place], quotas: bool, ttl: Duration) -> StoreResult<Vec<ClaimedTask>> {
        if !quotas {
            let mut line = self.rounds.hold().await?;
            let claims = claim(&mut *line, places, Quotas::None, ttl).await;
            let claims = line.put_back(claims)?;
            self.hub.committed(claims.topics());
            return Ok(claims.tasks);
        }
        let mut tx = self.begin_round().await?;
        let places = within_quotas(&mut tx, places).await?;
        let claims = claim(&mut *tx, &places, Quotas::Locked, ttl).await?;
        tx.hint_all(claims.topics());
        tx.commit().await?;
        Ok(claims.tasks)
    }

    /// The same as part of a transaction, where no project has a quota.
    pub(crate) async fn claim_within(
        &self,
        tx: &mut Tx,
        places: &[Place],
        ttl: Duration,
    ) -> StoreResult<Vec<ClaimedTask>> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let claims = claim(&mut **tx, places, Quotas::None, ttl).await?;
        tx.hint_all(claims.topics());
        Ok(claims.tasks)
    }

    /// The same for a gang: every place gets a task of the same job, `head`'s, or none does.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn claim_gang(
        &self,
        head: Uuid,
        places: &[Place],
        ttl: Duration,
    ) -> StoreResult<Vec<ClaimedTask>> {
        let mut tx = self.begin().await?;
        let allowed = within_quotas(&mut tx, places).await?;
        if allowed.len() < places.len() || !gather_gang(&mut tx, head, places.len()).await? {
            return Ok(Vec::new());
        }
        let claims = claim(&mut *tx, &allowed, Quotas::Locked, ttl).await?;
        if claims.tasks.len() < places.len() {
            return Ok(Vec::new());
        }
        tx.hint_all(claims.topics());
        tx.commit().await?;
        Ok(claims.tasks)
    }
}

/// What is known of the quotas of those whose tasks are leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotas {
    /// There were none a moment ago.
    None,
    /// They are locked, and what is asked for fits.
    Locked,
}

/// Tasks that were leased.
#[derive(Debug)]
struct Claims {
    tasks: Vec<ClaimedTask>,
    /// Whether a webhook is told of it.
    addressed: bool,
}

impl Claims {
    fn topics(&self) -> &'static [Topic] {
        match (self.tasks.is_empty(), self.addressed) {
            (true, _) => &[],
            (false, false) => &[Topic::Events],
            (false, true) => &[Topic::Events, Topic::Deliveries],
        }
    }
}

async fn claim(database: impl PgExecutor<'_>, places: &[Place], quotas: Quotas, ttl: Duration) -> StoreResult<Claims> {
    task::next(TaskState::Ready, TaskEvent::Lease)?;
    let rows = sqlx::query_file!(
        "src/store/sql/claim.sql",
        &places.iter().map(|place| place.lane).collect::<Vec<_>>(),
        &places.iter().map(|place| place.worker).collect::<Vec<_>>(),
        &places.iter().map(|place| place.worker_name.clone()).collect::<Vec<_>>(),
        &places.iter().map(|place| place.code_version.clone()).collect::<Vec<_>>(),
        &places.iter().map(|place| array_text(&place.gpus)).collect::<Vec<_>>(),
        &places.iter().map(|place| place.from.at).collect::<Vec<_>>(),
        &places.iter().map(|place| place.from.id).collect::<Vec<_>>(),
        ttl.as_secs_f64(),
        quotas == Quotas::Locked,
        MANY as i64,
    )
    .fetch_all(database)
    .await?;
    let addressed = rows.first().is_some_and(|row| row.deliveries > 0);
    let tasks = rows
        .into_iter()
        .map(|row| ClaimedTask {
            lease: Lease { task_id: row.id, attempt: row.attempt as u32, token: row.token },
            job_id: row.job_id,
            lane: row.lane_id,
            payload: row.payload,
            worker: row.worker_id,
            gpus: row.gpus.iter().map(|gpu| *gpu as u32).collect(),
            preemptible: row.preemptible,
        })
        .collect();
    Ok(Claims { tasks, addressed })
}

/// As Postgres writes an array of integers: arrays of arrays of different lengths cannot be sent.
fn array_text(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

/// The places that still fit their projects' quotas, which nobody else can use up before the transaction ends.
async fn within_quotas(tx: &mut Tx, places: &[Place]) -> StoreResult<Vec<Place>> {
    let mut names: Vec<String> = places.iter().map(|place| place.project.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let mut quotas = lock_quotas(tx, &names).await?;
    let mut fits = |place: &&Place| {
        let Some(quota) = quotas.iter_mut().find(|quota| quota.name == place.project) else { return true };
        let gpus = place.gpus.len() as i64;
        let room = quota.max_running.is_none_or(|max| quota.running < i64::from(max))
            && quota.max_gpus.is_none_or(|max| quota.gpus + gpus <= i64::from(max));
        if room {
            quota.running += 1;
            quota.gpus += gpus;
        }
        room
    };
    Ok(places.iter().filter(|place| fits(place)).cloned().collect())
}

/// Brings the tasks of a gang to the head of their lane, unless one of them is not free any more.
async fn gather_gang(tx: &mut Tx, head: Uuid, size: usize) -> StoreResult<bool> {
    let tasks = sqlx::query_scalar!(
        "select t.id from tasks t join tasks h on h.id = $1 and h.job_id = t.job_id
        where t.state = 'ready' for update of t skip locked",
        head,
    )
    .fetch_all(&mut **tx)
    .await?;
    if tasks.len() != size {
        return Ok(false);
    }
    sqlx::query!(
        "update tasks set ready_at = (select min(ready_at) - interval '1 microsecond' from tasks f
            where f.lane_id = tasks.lane_id and f.state = 'ready')
        where id = any ($1)",
        &tasks,
    )
    .execute(&mut **tx)
    .await?;
    Ok(true)
}
