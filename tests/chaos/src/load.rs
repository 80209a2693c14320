//! The work that is done while things go wrong: what users ask for, asked until it is answered, and watched to its end.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ursa_client::Client;
use ursa_proto::ApiError;
use ursa_proto::v1::job_definition::Spec;
use ursa_proto::v1::{self, train_spec};
use uuid::Uuid;

use crate::history::Submitted;

/// As many as all workers together have room for, of which each takes a second: nobody is ever idle.
const PROBES: u32 = 24;
const PROBE: Duration = Duration::from_secs(1);
/// Pipelines of probes that a user waits for at a time.
const WANTED_PROBES: usize = 2;
/// One attempt each of so many probes fails on purpose.
const FAILING_PROBES: u32 = 2;
const EPOCHS: u32 = 4;
/// Of what leads to a model, and of what is urgent: before probes, which are there in plenty and have to make room.
const BEARS_PRIORITY: u32 = 9;
const URGENT_PRIORITY: u32 = 8;
const PROBES_PRIORITY: u32 = 1;
/// Faults use up attempts, and must not use up all.
const MAX_ATTEMPTS: u32 = 20;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// As long as the slowest good page takes, and then some.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one call may take before it is made again.
const CALL: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_millis(200);

/// The URL list of a class.
#[derive(Debug, Clone)]
pub struct UrlList {
    /// The class.
    pub class: String,
    /// Its name, for people.
    pub name: String,
    /// The lines.
    pub lines: Vec<String>,
}

/// What was asked for, and what was seen of it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Pipelines.
    pub submitted: Vec<Submitted>,
    /// The datasets that the lists were scraped into.
    pub datasets: Vec<String>,
    /// Ids of events, pipeline by pipeline, in the order in which they came.
    pub watched: BTreeMap<Uuid, Vec<i64>>,
}

/// What all users write down, at once: it is there even when one of them never comes back.
#[derive(Debug, Clone, Default)]
struct Ledger(Arc<Mutex<Asked>>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        // Whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that goes on until it is told to stop.
pub struct Load {
    users: JoinSet<anyhow::Result<()>>,
    ledger: Ledger,
    stop: CancellationToken,
}

impl Load {
    /// Users begin: one wants one model after the other of the lists, and one has urgent probes whenever `urgent` says so,
    /// both from whichever coordinator is there; the others always wait for some probes that are not urgent, each by a
    /// coordinator of their own.
    pub fn begin(any: Client, each: Vec<Client>, lists: &[UrlList], urgent: Arc<Notify>) -> Self {
        let (mut users, ledger, stop) = (JoinSet::new(), Ledger::default(), CancellationToken::new());
        users.spawn(want_models(User::new(any.clone(), ledger.clone()), lists.to_vec(), stop.clone()));
        users.spawn(want_urgently(User::new(any, ledger.clone()), urgent, stop.clone()));
        for (which, client) in each.into_iter().enumerate() {
            users.spawn(want_probes(User::new(client, ledger.clone()), which, stop.clone()));
        }
        Self { users, ledger, stop }
    }

    /// Nothing new is asked for from now on.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until those who watch have seen everything end.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        while let Some(end) = self.users.join_next().await {
            end??;
        }
        Ok(())
    }

    /// What was asked for, and seen of it so far.
    pub fn asked(&self) -> Asked {
        self.ledger.lock().clone()
    }

    /// Fails when a user has given up, which none of them may.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.users.try_join_next() {
            None => Ok(()),
            Some(Ok(Ok(()))) => anyhow::bail!("a user stopped asking"),
            Some(Ok(Err(error))) => Err(error.context("a user gave up")),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

async fn want_models(mut user: User, lists: Vec<UrlList>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let dataset = format!("bears-{number}");
        let pipeline = user.submit(&dataset, bears(&dataset, &lists)?).await?;
        user.ledger.lock().datasets.push(dataset);
        if let Some(seen) = stop.run_until_cancelled(user.until_seen(pipeline)).await {
            seen?;
        }
    }
    user.leave().await
}

async fn want_probes(mut user: User, which: usize, stop: CancellationToken) -> anyhow::Result<()> {
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        user.submit(&format!("probes-{which}-{number}"), probes()?).await?;
        if let Some(seen) = stop.run_until_cancelled(user.until_fewer(WANTED_PROBES)).await {
            seen?;
        }
    }
    user.leave().await
}

async fn want_urgently(mut user: User, urgent: Arc<Notify>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut number = 0;
    while stop.run_until_cancelled(urgent.notified()).await.is_some() {
        number += 1;
        user.submit(&format!("urgent-{number}"), urgent_probes()?).await?;
    }
    user.leave().await
}

/// Somebody who asks for pipelines, and watches each of them.
struct User {
    client: Client,
    ledger: Ledger,
    watching: JoinSet<anyhow::Result<Uuid>>,
    seen: HashSet<Uuid>,
}

impl User {
    fn new(client: Client, ledger: Ledger) -> Self {
        Self { client, ledger, watching: JoinSet::new(), seen: HashSet::new() }
    }

    /// Asks for a pipeline until there is an answer.
    async fn submit(&mut self, key: &str, jobs: Vec<v1::JobDefinition>) -> anyhow::Result<Uuid> {
        let pipeline = v1::PipelineSpec { name: "chaos".into(), jobs, ..v1::PipelineSpec::default() };
        let request = v1::SubmitPipelineRequest { pipeline: Some(pipeline), idempotency_key: key.to_owned() };
        let client = &self.client;
        let ask = || async { client.jobs().submit_pipeline(request.clone()).await };
        let answer = until_answered(client, ask).await.with_context(|| format!("{key} was refused"))?;
        let id = answer.pipeline.context("an answer without a pipeline")?.id.parse()?;
        self.ledger.lock().submitted.push(Submitted { key: key.to_owned(), pipeline: id });
        self.watching.spawn(watch(self.client.clone(), self.ledger.clone(), id));
        Ok(id)
    }

    /// Waits until a pipeline's events have all been seen. Safe to cancel.
    async fn until_seen(&mut self, pipeline: Uuid) -> anyhow::Result<()> {
        while !self.seen.contains(&pipeline) {
            let Some(seen) = self.watching.join_next().await else { break };
            self.seen.insert(seen??);
        }
        Ok(())
    }

    /// Waits until fewer pipelines than that are left to be seen to their end. Safe to cancel.
    async fn until_fewer(&mut self, than: usize) -> anyhow::Result<()> {
        while self.watching.len() >= than {
            let Some(seen) = self.watching.join_next().await else { break };
            self.seen.insert(seen??);
        }
        Ok(())
    }

    async fn leave(mut self) -> anyhow::Result<()> {
        while let Some(seen) = self.watching.join_next().await {
            seen??;
        }
        Ok(())
    }
}

/// Makes a call until it is answered, of whichever coordinator is there.
async fn until_answered<T, F, Fut>(client: &Client, call: F) -> Result<T, ApiError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    loop {
        match tokio::time::timeout(CALL, call()).await.map(|answer| answer.map_err(ApiError::from)) {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(error)) if !error.is_retryable() => return Err(error),
            Ok(Err(_)) | Err(_) => client.turn(),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Writes down the events of a pipeline until it ends, as somebody sees them who resumes where they were whenever they
/// are cut off.
async fn watch(client: Client, ledger: Ledger, pipeline: Uuid) -> anyhow::Result<Uuid> {
    ledger.lock().watched.insert(pipeline, Vec::new());
    let mut last = 0;
    loop {
        let subject = Some(v1::watch_events_request::Subject::PipelineId(pipeline.to_string()));
        let request = v1::WatchEventsRequest { subject, after_id: last };
        let ask = || async { client.jobs().watch_events(request.clone()).await };
        let mut events = until_answered(&client, ask).await.context("watching was refused")?;
        let cut_off = loop {
            match events.message().await {
                // Progress is not recorded and has no id.
                Ok(Some(event)) if event.id > 0 => {
                    last = event.id;
                    ledger.lock().watched.entry(pipeline).or_default().push(last);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(pipeline),
                Err(status) => break ApiError::from(status),
            }
        };
        anyhow::ensure!(cut_off.is_retryable(), "watching was ended: {cut_off}");
        tokio::time::sleep(AGAIN).await;
        client.turn();
    }
}

fn job(name: &str, after: &[&str], priority: u32, spec: Spec) -> anyhow::Result<v1::JobDefinition> {
    Ok(v1::JobDefinition {
        name: name.to_owned(),
        after: after.iter().map(|name| (*name).to_owned()).collect(),
        max_attempts: MAX_ATTEMPTS,
        backoff: Some(v1::Backoff { first: Some(BACKOFF.0.try_into()?), longest: Some(BACKOFF.1.try_into()?) }),
        priority: Some(priority),
        spec: Some(spec),
        ..v1::JobDefinition::default()
    })
}

fn probes() -> anyhow::Result<Vec<v1::JobDefinition>> {
    let spec = v1::ProbeSpec { tasks: PROBES, duration_ms: PROBE.as_millis() as u64, failures: FAILING_PROBES };
    let probe = job("probe", &[], PROBES_PRIORITY, Spec::Probe(spec))?;
    Ok(vec![v1::JobDefinition { preemptible: true, ..probe }])
}

/// As many as all workers have room for.
fn urgent_probes() -> anyhow::Result<Vec<v1::JobDefinition>> {
    let spec = v1::ProbeSpec { tasks: PROBES, duration_ms: PROBE.as_millis() as u64, failures: 0 };
    Ok(vec![job("urgent", &[], URGENT_PRIORITY, Spec::Probe(spec))?])
}

fn bears(dataset: &str, lists: &[UrlList]) -> anyhow::Result<Vec<v1::JobDefinition>> {
    let class = |list: &UrlList| v1::ClassUrls {
        name: list.class.clone(),
        list_name: list.name.clone(),
        urls: list.lines.clone(),
    };
    let scrape = v1::ScrapeSpec {
        dataset: dataset.to_owned(),
        classes: lists.iter().map(class).collect(),
        urls_per_task: 6,
        concurrency: 6,
        timeout_ms: FETCH_TIMEOUT.as_millis() as u32,
        ..v1::ScrapeSpec::default()
    };
    let verify = v1::VerifySpec { dataset: dataset.to_owned(), ..v1::VerifySpec::default() };
    let snapshot = v1::SnapshotSpec { dataset: dataset.to_owned(), seed: 42, valid_percent: 25 };
    let recipe = v1::TrainRecipe {
        architecture: "resnet18".into(),
        epochs: EPOCHS,
        batch_size: 8,
        image_size: 32,
        // A handful of pictures from scratch: nobody wants a good model, but one of every run.
        stop_early: Some(false),
        ..v1::TrainRecipe::default()
    };
    let snapshot_of = Some(train_spec::Snapshot::SnapshotFromJob("snapshot".into()));
    // Every checkpoint is a witness of how the run went.
    let keep_checkpoints = Some(v1::KeepCheckpoints { last: 1000, ..v1::KeepCheckpoints::default() });
    let train =
        v1::TrainSpec { snapshot: snapshot_of, recipe: Some(recipe), keep_checkpoints, ..v1::TrainSpec::default() };
    Ok(vec![
        job("scrape", &[], BEARS_PRIORITY, Spec::Scrape(scrape))?,
        job("verify", &["scrape"], BEARS_PRIORITY, Spec::Verify(verify))?,
        job("snapshot", &["verify"], BEARS_PRIORITY, Spec::Snapshot(snapshot))?,
        job("train", &["snapshot"], BEARS_PRIORITY, Spec::Train(train))?,
    ])
}
