//! Planning a search: every trial is sent to its first rung at once, and to the next one when it is among the best.
//! `ursa_domain::search` says who is.

use serde_json::{Map, Value, json};
use ursa_domain::JobSpec;
use ursa_domain::lifecycle::job::JobState;
use ursa_domain::search::{Load, SearchSpec, Trial, promote};
use ursa_proto::ApiError;
use uuid::Uuid;

use super::super::jobs::{LockedJob, lock_output, set_output};
use super::super::{StoreError, StoreResult, Tx};
use super::models::{Lesson, look_up};
use super::{NewTask, Plan, write};

/// What is counted.
const UNIT: &str = "epochs";

/// What a search has found so far: the output of its job.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::store) struct Found {
    /// After how many epochs each rung ends.
    pub(in crate::store) rungs: Vec<u32>,
    /// The best first.
    pub(in crate::store) trials: Vec<Trial>,
    /// The rest: of the best trial, and of its model once there is one.
    #[serde(flatten)]
    pub(in crate::store) rest: Map<String, Value>,
}

impl Found {
    /// Of a job whose row is locked.
    pub(in crate::store) async fn of(tx: &mut Tx, job_id: Uuid) -> StoreResult<Self> {
        let output = lock_output(tx, job_id).await?;
        serde_json::from_value(output).map_err(|error| StoreError::unreadable("output of a search job", &error))
    }
}

/// The first rung of every trial.
pub(super) async fn plan_search(tx: &mut Tx, job: &LockedJob, spec: &SearchSpec) -> StoreResult<Plan> {
    let Lesson { snapshot, recipe } = look_up(tx, job, &spec.from).await?;
    let inputs = json!({
        "snapshot": snapshot["digest"], "recipe": recipe, "space": spec.space, "trials": spec.trials,
        "min_epochs": spec.min_epochs, "reduction": spec.reduction,
    });
    let rungs = spec.rungs();
    let (mut trials, mut tasks) = (Vec::new(), Vec::new());
    for (number, settings) in (1..).zip(spec.space.draw(recipe.seed, spec.trials)) {
        let trial = Trial::new(number, settings, Uuid::now_v7());
        let recipe = trial.recipe(&recipe).map_err(|invalid| ApiError::invalid(invalid.to_string()))?;
        let payload = json!({"snapshot": snapshot, "recipe": recipe, "train_percent": 100, "trial": number});
        tasks.push(task(&trial, &rungs, payload, None));
        trials.push(trial);
    }
    set_output(tx, job.id, &json!(Found { rungs, trials, rest: Map::new() })).await?;
    Ok(Plan::new(UNIT, tasks).of_inputs(inputs))
}

/// The task of the last rung that a trial was sent to; `before` is that of the rung before.
fn task(trial: &Trial, rungs: &[u32], mut payload: Value, before: Option<Uuid>) -> NewTask {
    let rung = trial.rungs - 1;
    let after = if rung == 0 { 0 } else { rungs[rung - 1] };
    payload["rung"] = json!({"after": after, "until": rungs[rung]});
    payload["before"] = json!(before);
    NewTask { id: trial.task, payload, units: u64::from(rungs[rung] - after) }
}

/// Sends those on who are to go on, given what a locked job that runs has to do besides; returns their numbers. The caller
/// stores what was `found`.
pub(in crate::store) async fn send_on(
    tx: &mut Tx,
    job: &LockedJob,
    found: &mut Found,
    load: Load,
) -> StoreResult<Vec<u32>> {
    let JobSpec::Search(spec) = job.spec()? else { return Ok(Vec::new()) };
    let places = promote(&found.trials, found.rungs.len(), spec.reduction, load);
    let mut tasks = Vec::with_capacity(places.len());
    for &place in &places {
        let trial = &mut found.trials[place];
        let before = std::mem::replace(&mut trial.task, Uuid::now_v7());
        trial.rungs += 1;
        tasks.push(task(trial, &found.rungs, payload(tx, before).await?, Some(before)));
    }
    if !tasks.is_empty() {
        write(tx, job, &Plan::new(UNIT, tasks), None, JobState::Running).await?;
    }
    Ok(places.into_iter().map(|place| found.trials[place].number).collect())
}

async fn payload(tx: &mut Tx, task: Uuid) -> StoreResult<Value> {
    Ok(sqlx::query_scalar!("select payload from tasks where id = $1", task).fetch_one(&mut **tx).await?)
}

/// What a job has to do besides `ending` tasks that end now.
pub(in crate::store) async fn load(tx: &mut Tx, job: &LockedJob, ending: i32) -> StoreResult<Load> {
    if job.open_tasks <= ending {
        return Ok(Load::Idle);
    }
    let is_queued = sqlx::query_scalar!(
        r#"select exists (select from tasks where job_id = $1 and state in ('waiting', 'ready')) as "queued!""#,
        job.id,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(if is_queued { Load::Queued } else { Load::Busy })
}

/// Whether a search that has nothing to do is not over: who was to be waited for when the last result came has been lost.
pub(super) async fn goes_on(tx: &mut Tx, job: &LockedJob, spec: &SearchSpec) -> StoreResult<bool> {
    let found = Found::of(tx, job.id).await?;
    Ok(!promote(&found.trials, found.rungs.len(), spec.reduction, Load::Idle).is_empty())
}

/// Sends those on who were left behind.
pub(super) async fn feed_search(tx: &mut Tx, job: &LockedJob) -> StoreResult<()> {
    let mut found = Found::of(tx, job.id).await?;
    let load = load(tx, job, 0).await?;
    if !send_on(tx, job, &mut found, load).await?.is_empty() {
        set_output(tx, job.id, &json!(found)).await?;
    }
    Ok(())
}

/// Why a search that is over has failed all the same; `None` where it has a model.
pub(in crate::store) async fn came_to_nothing(tx: &mut Tx, job: &LockedJob) -> StoreResult<Option<String>> {
    if !matches!(job.spec()?, JobSpec::Search(_)) {
        return Ok(None);
    }
    let Found { trials, .. } = Found::of(tx, job.id).await?;
    if trials.iter().any(|trial| trial.model_digest.is_some()) {
        return Ok(None);
    }
    let diverged = trials.iter().filter(|trial| trial.diverged.is_some()).count();
    Ok(Some(format!(
        "no trial was trained to the end: {diverged} of {} diverged; search lower rates (max_learning_rate)",
        trials.len()
    )))
}
