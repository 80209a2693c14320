//! A user who does things to work on its way: what is on an agenda, and proves of each that it was done.
//!
//! What is asked for may have been done although nobody heard the answer, and is asked for again. So what counts is not the
//! answer but what is so afterwards, and each thing is done to work that nobody else does it to.

use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use ursa_client::Client;
use ursa_proto::v1::steer_jobs_request::Action;
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use super::user::{User, until_answered};
use super::wanted::{UrlList, many_probes, probes, scrape};
use crate::acts::{Act, Done, Due};
use crate::history::Drained;

const LOOK: Duration = Duration::from_millis(500);
/// The pipeline that is run again: the first that leads to a model.
const FIRST_MODEL: &str = "bears-1";
/// Longer than a coordinator stands still that was told something, and was given up: then it does it after all.
const LATE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Operator {
    user: User,
    lists: Vec<UrlList>,
    stop: CancellationToken,
    /// Of the last pipeline that was asked for.
    number: usize,
    /// The worker that was drained last. A late request may let it in again.
    drained: Option<String>,
}

impl Operator {
    pub(super) fn new(user: User, lists: Vec<UrlList>, stop: CancellationToken) -> Self {
        Self { user, lists, stop, number: 0, drained: None }
    }

    /// Does each act when it is due, or as soon after that as it can be done; what is left when nothing new is asked for any
    /// more, at once.
    pub(super) async fn work(mut self, agenda: Vec<Due>) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut waiting = agenda;
        while !waiting.is_empty() {
            for due in std::mem::take(&mut waiting) {
                let is_due = begun.elapsed() >= due.at || self.stop.is_cancelled();
                let is_done = is_due && self.does(due.act).await?;
                if !is_done {
                    waiting.push(due);
                }
            }
            sleep(LOOK).await;
        }
        self.stop.cancelled().await;
        self.user.leave().await
    }

    /// Whether it could be done now.
    async fn does(&mut self, act: Act) -> anyhow::Result<bool> {
        let at = Utc::now();
        let proof = match act {
            Act::Cancel => self.cancel().await,
            Act::CancelMany => self.cancel_many().await,
            Act::Prioritise(priority) => self.prioritise(priority).await,
            Act::PrioritiseMany(priority) => self.prioritise_many(priority).await,
            Act::Drain(lasts) => self.drain(lasts).await,
            Act::Rerun => self.rerun().await,
        };
        let Some(proof) = proof.with_context(|| act.to_string())? else { return Ok(false) };
        self.user.ledger.lock().acts.push(Done { act, at, proof });
        Ok(true)
    }

    async fn cancel(&mut self) -> anyhow::Result<Option<String>> {
        let name = self.name("given-up");
        let pipeline = self.user.submit(&name, vec![scrape(&name, &self.lists)?]).await?;
        for job in until_midway(&self.user.client, pipeline).await?.jobs {
            cancel_job(&self.user.client, job.id).await?;
        }
        self.note_cancelled(pipeline).await
    }

    async fn cancel_many(&mut self) -> anyhow::Result<Option<String>> {
        let name = self.name("given-up");
        let pipeline = self.user.submit(&name, many_probes()?).await?;
        until_midway(&self.user.client, pipeline).await?;
        steer(&self.user.client, of_pipeline(pipeline), Action::Cancel(true)).await?;
        self.note_cancelled(pipeline).await
    }

    /// Writes down which jobs were cancelled of a pipeline that was asked to be: for good, as nobody has them run again.
    /// Those that had ended before are like any other.
    async fn note_cancelled(&mut self, pipeline: Uuid) -> anyhow::Result<Option<String>> {
        let jobs = look(&self.user.client, pipeline).await?.jobs;
        let cancelled = jobs.iter().filter(|job| matches!(job.state.as_str(), "cancelling" | "cancelled"));
        let ids = cancelled.map(|job| Uuid::parse_str(&job.id)).collect::<Result<Vec<Uuid>, _>>()?;
        let proof = format!("{} of {} jobs of pipeline {pipeline} are cancelled", ids.len(), jobs.len());
        let is_done = !ids.is_empty();
        self.user.ledger.lock().cancelled.extend(ids);
        Ok(is_done.then_some(proof))
    }

    async fn prioritise(&mut self, priority: u32) -> anyhow::Result<Option<String>> {
        let name = self.name("moved");
        let pipeline = self.user.submit(&name, probes()?).await?;
        prioritise(&self.user.client, of_pipeline(pipeline), priority).await
    }

    /// Others' probes, and some of its own, in case nobody else wants any.
    async fn prioritise_many(&mut self, priority: u32) -> anyhow::Result<Option<String>> {
        let name = self.name("moved");
        self.user.submit(&name, probes()?).await?;
        let filter = v1::JobFilter {
            kind: "probe".into(),
            state: "running".into(),
            name_prefix: "probe".into(),
            ..v1::JobFilter::default()
        };
        prioritise(&self.user.client, filter, priority).await
    }

    async fn drain(&mut self, lasts: Duration) -> anyhow::Result<Option<String>> {
        let client = &self.user.client;
        let request = v1::ListWorkersRequest::default();
        let all = until_answered(client, || async { client.workers().list_workers(request.clone()).await }).await?;
        let may_be = |worker: &v1::Worker| {
            worker.state == "online" && !worker.draining && self.drained.as_ref() != Some(&worker.id)
        };
        let Some(worker) = all.workers.into_iter().filter(may_be).max_by_key(|worker| worker.running) else {
            return Ok(None);
        };
        set_drain(client, &worker.id, true).await?;
        let from = Utc::now();
        sleep(lasts).await;
        let to = Utc::now();
        set_drain(client, &worker.id, false).await?;
        let proof = format!("{} ({}), which was at {} tasks", worker.name, worker.id, worker.running);
        self.user.ledger.lock().drained.push(Drained { worker: worker.id.parse()?, from, to });
        self.stop.run_until_cancelled(sleep(LATE)).await;
        set_drain(client, &worker.id, false).await?;
        self.drained = Some(worker.id);
        Ok(Some(proof))
    }

    async fn rerun(&mut self) -> anyhow::Result<Option<String>> {
        let first = self.user.ledger.lock().pipeline(FIRST_MODEL);
        let Some(earlier) = first else { return Ok(None) };
        if look(&self.user.client, earlier).await?.state == "running" {
            return Ok(None);
        }
        let name = self.name("again");
        let again = self.user.rerun(&name, earlier).await?;
        Ok(Some(format!("pipeline {again} is {earlier} again")))
    }

    fn name(&mut self, what: &str) -> String {
        self.number += 1;
        format!("{what}-{}", self.number)
    }
}

fn of_pipeline(pipeline: Uuid) -> v1::JobFilter {
    v1::JobFilter { pipeline_id: pipeline.to_string(), ..v1::JobFilter::default() }
}

async fn look(client: &Client, pipeline: Uuid) -> Result<v1::Pipeline, ApiError> {
    let request = v1::GetPipelineRequest { id: pipeline.to_string() };
    until_answered(client, || async { client.jobs().get_pipeline(request.clone()).await }).await
}

/// Waits until a pipeline has tasks that have ended and tasks at work, or nothing to do any more.
async fn until_midway(client: &Client, pipeline: Uuid) -> Result<v1::Pipeline, ApiError> {
    loop {
        let found = look(client, pipeline).await?;
        let counts = || found.jobs.iter().filter_map(|job| job.tasks.as_ref());
        let is_midway = counts().any(|tasks| tasks.succeeded > 0) && counts().any(|tasks| tasks.running > 0);
        if is_midway || found.state != "running" {
            return Ok(found);
        }
        sleep(LOOK).await;
    }
}

async fn cancel_job(client: &Client, id: String) -> Result<(), ApiError> {
    let request = v1::CancelJobRequest { id };
    match until_answered(client, || async { client.jobs().cancel_job(request.clone()).await }).await {
        Err(error) if error.code != ErrorCode::IllegalState => Err(error),
        // Or it was cancelled before, and nobody heard the answer; or it had ended.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// How many jobs it was done to.
async fn steer(client: &Client, filter: v1::JobFilter, action: Action) -> Result<u32, ApiError> {
    let (filter, action) = (Some(filter), Some(action));
    let request = v1::SteerJobsRequest { filter, action, ..v1::SteerJobsRequest::default() };
    let answer = until_answered(client, || async { client.jobs().steer_jobs(request.clone()).await }).await?;
    Ok(answer.steered)
}

async fn prioritise(client: &Client, filter: v1::JobFilter, priority: u32) -> anyhow::Result<Option<String>> {
    let steered = steer(client, filter, Action::Priority(priority)).await?;
    Ok((steered > 0).then(|| format!("{steered} jobs that had not ended")))
}

async fn set_drain(client: &Client, worker: &str, drain: bool) -> Result<(), ApiError> {
    let request = v1::DrainWorkerRequest { id: worker.to_owned(), drain };
    until_answered(client, || async { client.workers().drain_worker(request.clone()).await }).await.map(drop)
}
