//! The bears' pipeline, small enough for a test: it need not learn well, only everything must happen.

use std::time::Duration;

use ursa_demo_web::{Class, DemoWeb};
use ursa_proto::v1::job_definition::Spec;
use ursa_proto::v1::{self, deploy_spec, train_spec};

/// Every job of the loop, in order.
pub(crate) const JOBS: [&str; 5] = ["scrape", "verify", "snapshot", "train", "deploy"];

/// The first `count` jobs of the loop over everything that the web lists.
pub(crate) fn bears(web: &DemoWeb, count: usize, epochs: u32) -> v1::PipelineSpec {
    let specs = [scrape(web), verify(), snapshot(), train(epochs), deploy()];
    let jobs = JOBS.iter().zip(specs).take(count).enumerate().map(|(index, (name, spec))| v1::JobDefinition {
        name: (*name).to_owned(),
        after: JOBS[..index].last().map(|before| (*before).to_owned()).into_iter().collect(),
        max_attempts: 3,
        spec: Some(spec),
        ..v1::JobDefinition::default()
    });
    v1::PipelineSpec { name: "bears".into(), jobs: jobs.collect(), ..v1::PipelineSpec::default() }
}

/// So many tasks that only take a moment.
pub(crate) fn probes(tasks: u32) -> v1::PipelineSpec {
    probes_of(tasks, Duration::from_millis(300), 0)
}

/// So many tasks that take so long, of which so many fail at the first attempt.
pub(crate) fn probes_of(tasks: u32, duration: Duration, failures: u32) -> v1::PipelineSpec {
    let spec = Spec::Probe(v1::ProbeSpec { tasks, duration_ms: duration.as_millis() as u64, failures });
    let probe = v1::JobDefinition { name: "probe".into(), spec: Some(spec), ..v1::JobDefinition::default() };
    v1::PipelineSpec { name: "probes".into(), jobs: vec![probe], ..v1::PipelineSpec::default() }
}

fn scrape(web: &DemoWeb) -> Spec {
    let class = |class: &Class| v1::ClassUrls {
        name: class.to_string(),
        list_name: class.list_name().to_owned(),
        urls: web.url_list(*class).lines().map(str::to_owned).collect(),
    };
    Spec::Scrape(v1::ScrapeSpec {
        dataset: "bears".into(),
        classes: Class::ALL.iter().map(class).collect(),
        urls_per_task: 16,
        concurrency: 8,
        timeout_ms: 2000,
        ..v1::ScrapeSpec::default()
    })
}

fn verify() -> Spec {
    Spec::Verify(v1::VerifySpec { dataset: "bears".into(), ..v1::VerifySpec::default() })
}

fn snapshot() -> Spec {
    Spec::Snapshot(v1::SnapshotSpec { dataset: "bears".into(), seed: 42, valid_percent: 25 })
}

fn train(epochs: u32) -> Spec {
    let recipe = v1::TrainRecipe {
        architecture: "resnet18".into(),
        epochs,
        batch_size: 8,
        image_size: 32,
        ..v1::TrainRecipe::default()
    };
    let snapshot = Some(train_spec::Snapshot::SnapshotFromJob("snapshot".into()));
    Spec::Train(v1::TrainSpec { snapshot, recipe: Some(recipe), ..v1::TrainSpec::default() })
}

fn deploy() -> Spec {
    let model = Some(deploy_spec::Model::ModelFromJob("train".into()));
    Spec::Deploy(v1::DeploySpec { endpoint: "bears".into(), model, timeout_seconds: 60 })
}
