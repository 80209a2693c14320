//! The completion of a search's tasks. What a result means for the trials, and who goes on, is decided with it.

use serde_json::{Value, json};
use ursa_domain::lifecycle::job::JobState;
use ursa_domain::search::{Measured, SearchSpec, Trial, best, ranked};
use ursa_domain::{JobKind, JobSpec, Lease};
use ursa_proto::{ApiError, v1};
use v1::search_result::End;

use super::fencing::{Held, hold_to_complete};
use super::jobs::{self, LockedJob};
use super::models::{insert_model, snapshot_of};
use super::planning::search::{Found, load, send_on};
use super::tasks::succeed_with;
use super::{Store, StoreError, StoreResult, Tx, runs};

impl Store {
    /// Ends a part of a trial well, and in the same transaction sends those on who are to go on.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_search(&self, lease: &Lease, result: &v1::SearchResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::Search).await? else { return Ok(()) };
        let end = result.end.as_ref().ok_or_else(|| ApiError::invalid("search.end: is missing"))?;
        let job = jobs::lock(&mut tx, held.job_id).await?.ok_or_else(|| ApiError::not_found("job", held.job_id))?;
        let JobSpec::Search(spec) = job.spec()? else {
            return Err(StoreError::unreadable("search job", &"it is none"));
        };
        let mut found = Found::of(&mut tx, job.id).await?;
        let told = note(&mut tx, &held, &mut found, end).await?;
        let message = format!("{}{}", told.message, go_on(&mut tx, &job, &mut found).await?);
        settle_best(&mut found, &spec, told.model)?;
        jobs::set_output(&mut tx, job.id, &json!(found)).await?;
        succeed_with(&mut tx, &held, told.registered, message).await?;
        tx.commit().await
    }
}

/// What is told of the end of a part.
struct Told<'a> {
    message: String,
    /// The model that came of it, and of which trial.
    model: Option<(u32, &'a v1::TrainResult)>,
    /// The event of a model that was not there before.
    registered: Option<(&'static str, String)>,
}

/// Writes down how the part of a trial ended that `held` is the task of.
async fn note<'a>(tx: &mut Tx, held: &Held, found: &mut Found, end: &'a End) -> StoreResult<Told<'a>> {
    let number = held.payload["trial"].as_u64().unwrap_or_default() as u32;
    let until = held.payload["rung"]["until"].as_u64().unwrap_or_default() as u32;
    let rungs = found.rungs.len();
    let trial = found.trials.iter_mut().find(|trial| trial.number == number && trial.task == held.lease.task_id);
    let trial = trial.ok_or_else(|| StoreError::unreadable("search task", &"it is that of no trial"))?;
    let is_last = trial.rungs == rungs;
    let (mut model, mut registered) = (None, None);
    let message = match end {
        End::Rung(result) if is_last => {
            let message = format!("search.rung: the trial ends after {} epochs: say `model`", result.epochs);
            return Err(ApiError::invalid(message).into());
        }
        End::Rung(result) => measured(trial, until, Measured::try_from(*result).map_err(ApiError::from)?)?,
        End::Diverged(message) => {
            trial.diverged = Some(message.clone());
            format!("trial {number} diverged: {message}")
        }
        End::Model(_) if !is_last => {
            let message = format!("search.model: the trial goes on after {until} epochs: say `rung`");
            return Err(ApiError::invalid(message).into());
        }
        End::Model(result) => {
            let (_, is_new) = insert_model(tx, &held.lease, held.job_id, snapshot_of(&held.payload)?, result).await?;
            trial.model_digest = Some(result.model_digest.clone());
            model = Some((number, result));
            let digest = result.model_digest.get(..12).unwrap_or_default();
            registered = is_new.then(|| ("model.created", format!("model {digest} was registered")));
            let (errors, validated) = (result.errors, result.validated);
            measured(trial, until, Measured { epochs: until, errors, validated, loss: valid_loss(result)? })?
        }
    };
    Ok(Told { message, model, registered })
}

/// What the model says of itself.
fn valid_loss(result: &v1::TrainResult) -> StoreResult<f64> {
    let described: Value =
        serde_json::from_str(&result.model_json).map_err(|error| StoreError::unreadable("model.json", &error))?;
    let loss = described["metrics"]["valid_loss"].as_f64();
    Ok(loss.ok_or_else(|| ApiError::invalid("search.model.model_json lacks metrics.valid_loss"))?)
}

/// Adds a measurement at the end of a rung, and says it.
fn measured(trial: &mut Trial, until: u32, measured: Measured) -> StoreResult<String> {
    if measured.epochs != until {
        let message = format!("search.rung.epochs is {}; this part ends after {until}", measured.epochs);
        return Err(ApiError::invalid(message).into());
    }
    trial.results.push(measured);
    let (number, errors) = (trial.number, measured.proportion());
    Ok(format!("trial {number} after {until} epochs: {errors} wrong, loss {:.4}", measured.loss))
}

/// Sends on who is to go on, unless the job is to end, and says it.
async fn go_on(tx: &mut Tx, job: &LockedJob, found: &mut Found) -> StoreResult<String> {
    if job.state != JobState::Running {
        return Ok(String::new());
    }
    let load = load(tx, job, 1).await?;
    let numbers = send_on(tx, job, found, load).await?;
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    Ok(match &numbers[..] {
        [] => String::new(),
        [one] => format!("; trial {one} goes on"),
        some => format!("; trials {} go on", some.join(", ")),
    })
}

/// Puts the best first, and what there is of it beside the trials.
fn settle_best(found: &mut Found, spec: &SearchSpec, model: Option<(u32, &v1::TrainResult)>) -> StoreResult<()> {
    found.trials = ranked(&found.trials).into_iter().map(|place| found.trials[place].clone()).collect();
    let Some(best) = best(&found.trials) else { return Ok(()) };
    let recipe = best.recipe(&spec.from.recipe);
    let recipe = recipe.map_err(|invalid| StoreError::unreadable("settings of a trial", &invalid))?;
    found.rest.insert("best".into(), json!(best.number));
    found.rest.insert("recipe".into(), json!(recipe));
    if let Some((number, result)) = model {
        if number == best.number {
            found.rest.extend(runs::story(result).as_object().cloned().unwrap_or_default());
        }
        // What the event of this very moment speaks of.
        found.rest.insert("registered".into(), json!(result.model_digest));
    }
    Ok(())
}
