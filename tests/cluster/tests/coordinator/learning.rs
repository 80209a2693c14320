//! What learns: a head, a rate, the whole network; several runs of one; an experiment.

use serde_json::Value;
use ursa_cluster::Worker;
use ursa_proto::v1;
use ursa_storage::Digest;
use v1::complete_task_request::Result as Done;
use v1::job_definition::Spec;
use v1::task_order::Work;

use crate::fixture::{Fixture, after, job, scrape, snapshot, verify};

/// Those of the pictures that the fixture prepares.
const CLASSES: &[&str] = &["black", "teddy"];

fn from_snapshot() -> v1::TrainSpec {
    let snapshot = Some(v1::train_spec::Snapshot::SnapshotFromJob("snapshot".into()));
    v1::TrainSpec { snapshot, ..v1::TrainSpec::default() }
}

/// `jobs`, after those that make the snapshot.
fn with_images(jobs: impl IntoIterator<Item = v1::JobDefinition>) -> Vec<v1::JobDefinition> {
    let first = [scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"])];
    first.into_iter().chain(jobs).collect()
}

fn from_head() -> v1::TrainSpec {
    let model = Some(v1::train_spec::Model::ModelFromJob("head".into()));
    v1::TrainSpec { model, ..from_snapshot() }
}

/// What a run says at its end: a model of a ResNet-34 whose weights are called `name`.
fn model(name: &str, classes: &[&str], wrong: u64) -> Done {
    let error_rate = wrong as f64 / 8.0;
    let model_json = serde_json::json!({
        "architecture": "resnet34", "classes": classes, "metrics": {"error_rate": error_rate},
        "files": {"model.safetensors": {"sha256": Digest::of(name.as_bytes()).to_string(), "bytes": 1}},
    })
    .to_string();
    let finding = v1::Finding {
        problem: "too_few_epochs".into(),
        seen: "the loss was still falling".into(),
        recipe: Some(v1::TrainRecipe { epochs: 8, ..v1::TrainRecipe::default() }),
        ..v1::Finding::default()
    };
    Done::Train(v1::TrainResult {
        model_digest: Digest::of(model_json.as_bytes()).to_string(),
        model_json,
        error_rates: vec![error_rate],
        errors: wrong,
        validated: 8,
        trained: 20,
        findings: vec![finding],
        ..v1::TrainResult::default()
    })
}

fn rates() -> Done {
    let suggestion = |method: &str, rate| v1::RateSuggestion { method: method.into(), rate, reason: "it falls".into() };
    Done::FindLr(v1::FindLrResult {
        points: vec![v1::RatePoint { rate: 1e-7, loss: 0.7, smooth_loss: 0.69 }],
        suggestions: vec![suggestion("valley", 1e-4), suggestion("steepest", 1e-3)],
        error: String::new(),
    })
}

async fn output(fixture: &Fixture, job: &str) -> Value {
    let job = fixture.job_in(job, "succeeded").await.job.unwrap();
    serde_json::from_str(&job.output_json).unwrap()
}

fn training(order: &v1::TaskOrder) -> &v1::TrainTask {
    match order.work.as_ref().unwrap() {
        Work::Train(task) => task,
        Work::FindLr(task) => task.training.as_ref().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_head_is_trained_then_a_rate_found_then_everything_trained_at_it() {
    let fixture = Fixture::start().await;
    let rate = Some(v1::FoundRate { job: "rate".into(), method: "steepest".into() });
    let stages = vec![
        v1::Stage { epochs: 1, rates: vec![1e-2], frozen: true, ..v1::Stage::default() },
        v1::Stage { epochs: 2, rates: vec![1e-5, 1e-2], ..v1::Stage::default() },
    ];
    let recipe = Some(v1::TrainRecipe { stages, ..v1::TrainRecipe::default() });
    let find_lr = v1::FindLrSpec {
        training: Some(v1::TrainSpec { recipe: recipe.clone(), ..from_head() }),
        test: Some(v1::RateTest { steps: 30, ..v1::RateTest::default() }),
    };
    let jobs = with_images([
        job("head", Spec::Train(from_snapshot())),
        job("rate", Spec::FindLr(find_lr)),
        job("whole", Spec::Train(v1::TrainSpec { rate, recipe, ..from_head() })),
    ]);
    let ids = fixture.submit(jobs).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;

    let head = worker.next_task().await.unwrap();
    worker.complete(head.lease.as_ref().unwrap(), model("head", CLASSES, 2)).await.unwrap();

    let order = worker.next_task().await.unwrap();
    assert_eq!(order.job_id, ids[4]);
    let Some(Work::FindLr(task)) = &order.work else { panic!("{order:?}") };
    assert_eq!(task.test.as_ref().unwrap().steps, 30);
    let recipe = training(&order).recipe.as_ref().unwrap();
    assert_eq!(recipe.stages.len(), 1, "the test looks at the last stage");
    let weights = recipe.pretrained.as_ref().unwrap();
    let digest = output(&fixture, &ids[3]).await["model_digest"].as_str().unwrap().to_owned();
    assert_eq!(weights.location, format!("model:{digest}"));
    assert_eq!(weights.sha256, Digest::of(b"head").to_string());
    assert!(recipe.keep_head);
    worker.complete(order.lease.as_ref().unwrap(), rates()).await.unwrap();
    let found = output(&fixture, &ids[4]).await;
    assert_eq!(found["suggestions"][0]["method"], "valley");
    assert_eq!(found["curve"]["points"][0][0], 1e-7);

    let order = worker.next_task().await.unwrap();
    let stages = &training(&order).recipe.as_ref().unwrap().stages;
    let rates: Vec<Vec<f64>> = stages.iter().map(|stage| stage.rates.clone()).collect();
    let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-9;
    assert!(close(rates[0][0], 1e-3) && close(rates[1][0], 1e-6) && close(rates[1][1], 1e-3), "{rates:?}");
    worker.complete(order.lease.as_ref().unwrap(), model("whole", CLASSES, 1)).await.unwrap();
    let told = output(&fixture, &ids[5]).await;
    assert_eq!(told["findings"][0]["problem"], "too_few_epochs");
    assert_eq!(told["findings"][0]["recipe"]["stages"][0]["epochs"], 8);
}

#[tokio::test]
async fn seeds_and_shares_are_runs_of_one_job_and_the_best_is_its_model() {
    let fixture = Fixture::start().await;
    let spec = v1::TrainSpec { seeds: 2, train_percents: vec![50, 100], ..from_snapshot() };
    let ids = fixture.submit(with_images([job("train", Spec::Train(spec))])).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    let mut seen = Vec::new();
    for wrong in [3, 4, 2, 1] {
        let order = worker.next_task().await.unwrap();
        let task = training(&order);
        seen.push((task.train_percent, task.recipe.as_ref().unwrap().seed.unwrap()));
        let name = format!("{wrong}");
        worker.complete(order.lease.as_ref().unwrap(), model(&name, CLASSES, wrong)).await.unwrap();
    }
    assert_eq!(seen, [(50, 42), (50, 43), (100, 42), (100, 43)]);
    let told = output(&fixture, &ids[3]).await;
    assert_eq!(told["runs"].as_array().unwrap().len(), 4);
    assert_eq!(told["error_rates"][0], 0.125, "the best of those with all of the data");
    assert_eq!(told["spread"][1]["train_percent"], 100);
    assert_eq!(told["spread"][1]["mean"], 0.1875);
    let models = fixture.client().models().list_models(v1::ListModelsRequest::default()).await.unwrap().into_inner();
    assert_eq!(models.models.len(), 4);
}

#[tokio::test]
async fn what_cannot_be_gone_on_from_is_said_before_anybody_works_on_it() {
    let fixture = Fixture::start().await;
    let other = v1::TrainRecipe { architecture: "resnet18".into(), ..v1::TrainRecipe::default() };
    let rate = Some(v1::FoundRate { job: "rate".into(), method: "minimum-over10".into() });
    let find_lr = v1::FindLrSpec { training: Some(from_snapshot()), test: None };
    let jobs = with_images([
        job("head", Spec::Train(from_snapshot())),
        job("rate", Spec::FindLr(find_lr)),
        job("other", Spec::Train(v1::TrainSpec { recipe: Some(other), ..from_head() })),
        job("no-rate", Spec::Train(v1::TrainSpec { rate, ..from_snapshot() })),
    ]);
    let ids = fixture.submit(jobs).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    for _ in 0..2 {
        let order = worker.next_task().await.unwrap();
        let done = match order.work.as_ref().unwrap() {
            Work::Train(_) => model("head", CLASSES, 1),
            _ => rates(),
        };
        worker.complete(order.lease.as_ref().unwrap(), done).await.unwrap();
    }
    let error = fixture.job_in(&ids[5], "failed").await.job.unwrap().error;
    assert!(error.contains("resnet34") && error.contains("resnet18"), "{error}");
    let error = fixture.job_in(&ids[6], "failed").await.job.unwrap().error;
    assert!(error.contains("minimum-over10"), "{error}");
}

#[tokio::test]
async fn an_experiment_is_a_job_and_its_verdict_the_output() {
    let fixture = Fixture::start().await;
    let lab = v1::SgdLabSpec { steps: 10, ..v1::SgdLabSpec::default() };
    let ids = fixture.submit(vec![job("lab", Spec::SgdLab(lab))]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let Some(Work::SgdLab(spec)) = &order.work else { panic!("{order:?}") };
    assert_eq!((spec.steps, spec.points, spec.slope), (10, 100, Some(3.0)), "with every default filled in");
    let refused = worker.complete(order.lease.as_ref().unwrap(), rates()).await.unwrap_err();
    assert!(refused.to_string().contains("does not end a sgd_lab task"), "{refused}");
    let result = v1::SgdLabResult { slope: 2.9, verdict: "converged".into(), ..v1::SgdLabResult::default() };
    worker.complete(order.lease.as_ref().unwrap(), Done::SgdLab(result)).await.unwrap();
    let told = output(&fixture, &ids[0]).await;
    assert_eq!((told["verdict"].as_str(), told["coefficients"][0].as_f64()), (Some("converged"), Some(2.9)));
}
