//! The jobs that users want.

use std::time::Duration;

use ursa_proto::v1::job_definition::Spec;
use ursa_proto::v1::{self, train_spec};

/// As many as all workers together have room for, of which each takes a second: nobody is ever idle.
const PROBES: u32 = 24;
const PROBE: Duration = Duration::from_secs(1);
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

pub(super) fn probes() -> anyhow::Result<Vec<v1::JobDefinition>> {
    Ok(vec![probe("probe", FAILING_PROBES)?])
}

/// More than all workers have room for: some have ended while others are at work and others wait.
pub(super) fn many_probes() -> anyhow::Result<Vec<v1::JobDefinition>> {
    ["one", "other"].into_iter().map(|name| probe(name, 0)).collect()
}

fn probe(name: &str, failures: u32) -> anyhow::Result<v1::JobDefinition> {
    let spec = v1::ProbeSpec { tasks: PROBES, duration_ms: PROBE.as_millis() as u64, failures };
    let probe = job(name, &[], PROBES_PRIORITY, Spec::Probe(spec))?;
    Ok(v1::JobDefinition { preemptible: true, ..probe })
}

/// As many as all workers have room for.
pub(super) fn urgent_probes() -> anyhow::Result<Vec<v1::JobDefinition>> {
    let spec = v1::ProbeSpec { tasks: PROBES, duration_ms: PROBE.as_millis() as u64, failures: 0 };
    Ok(vec![job("urgent", &[], URGENT_PRIORITY, Spec::Probe(spec))?])
}

/// Fetches what the lists name.
pub(super) fn scrape(dataset: &str, lists: &[UrlList]) -> anyhow::Result<v1::JobDefinition> {
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
    job("scrape", &[], BEARS_PRIORITY, Spec::Scrape(scrape))
}

pub(super) fn bears(dataset: &str, lists: &[UrlList]) -> anyhow::Result<Vec<v1::JobDefinition>> {
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
        scrape(dataset, lists)?,
        job("verify", &["scrape"], BEARS_PRIORITY, Spec::Verify(verify))?,
        job("snapshot", &["verify"], BEARS_PRIORITY, Spec::Snapshot(snapshot))?,
        job("train", &["snapshot"], BEARS_PRIORITY, Spec::Train(train))?,
    ])
}
