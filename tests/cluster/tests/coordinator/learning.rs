//! What learns: a head, a rate, the whole network; several runs of one; an experiment.

use serde_json::Value;
use ursa_cluster::{Worker, until};
use ursa_proto::v1;
use ursa_storage::{Digest, Key, ModelFile};
use v1::complete_task_request::Result as Done;
use v1::job_definition::Spec;
use v1::task_order::Work;

use crate::fixture::{Fixture, after, job, lease_parts, scrape, snapshot, verify};

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
        suggestions: vec![suggestion("valley", 1e-4), suggestion("steepest", 1e-2)],
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
    let lowest = |rate| v1::FoundRate { r#as: "lowest".into(), method: String::new(), ..rate };
    let rate = Some(v1::FoundRate { job: "rate".into(), method: "steepest".into(), ..v1::FoundRate::default() });
    let stages = vec![
        v1::Stage { epochs: 1, rates: vec![1e-2], frozen: true, ..v1::Stage::default() },
        v1::Stage { epochs: 2, rates: vec![1e-5, 1e-3], ..v1::Stage::default() },
        v1::Stage { epochs: 0, rates: vec![1.0], ..v1::Stage::default() },
    ];
    let recipe = Some(v1::TrainRecipe { stages, ..v1::TrainRecipe::default() });
    let find_lr = v1::FindLrSpec {
        training: Some(v1::TrainSpec { recipe: recipe.clone(), ..from_head() }),
        test: Some(v1::RateTest { steps: 30, ..v1::RateTest::default() }),
    };
    let jobs = with_images([
        job("head", Spec::Train(from_snapshot())),
        job("rate", Spec::FindLr(find_lr)),
        job("whole", Spec::Train(v1::TrainSpec { rate: rate.clone(), recipe: recipe.clone(), ..from_head() })),
        job("slice", Spec::Train(v1::TrainSpec { rate: rate.map(lowest), recipe, ..from_head() })),
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
    let tested: Vec<_> = recipe.stages.iter().map(|stage| (stage.epochs, stage.rates.as_slice())).collect();
    assert_eq!(tested, [(2, &[1e-5, 1e-3][..])], "the test looks at the last stage that trains");
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
    for (found, expected) in rates.concat().into_iter().zip([1e-1, 1e-4, 1e-2, 10.0]) {
        assert!(close(found, expected), "{rates:?}");
    }
    worker.complete(order.lease.as_ref().unwrap(), model("whole", CLASSES, 1)).await.unwrap();
    let order = worker.next_task().await.unwrap();
    assert_eq!(order.job_id, ids[6]);
    let stages = &training(&order).recipe.as_ref().unwrap().stages;
    let rates: Vec<Vec<f64>> = stages.iter().map(|stage| stage.rates.clone()).collect();
    assert_eq!(rates, [vec![1e-2], vec![1e-4, 1e-3], vec![1.0]], "the lesson's slice(found, rate / 10)");
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
        let points = vec![v1::MetricPoint { step: 8, epoch: 0, value: wrong as f64 / 8.0 }];
        let series = vec![v1::MetricSeries { name: "error_rate".into(), points }];
        let request = v1::AppendMetricsRequest { lease: order.lease.clone(), series };
        fixture.client().workers().append_metrics(request).await.unwrap();
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

    let asked = v1::ListMetricsRequest { job_id: ids[3].clone(), ..v1::ListMetricsRequest::default() };
    let merged = fixture.client().jobs().list_metrics(asked.clone()).await.unwrap().into_inner();
    assert_eq!((merged.series.len(), merged.series[0].points.len(), merged.runs.len()), (1, 1, 0));
    let by_run = v1::ListMetricsRequest { by_run: true, names: vec!["error_rate".into()], ..asked };
    let told = fixture.client().jobs().list_metrics(by_run.clone()).await.unwrap().into_inner();
    let runs: Vec<_> = told.runs.iter().map(|run| (run.train_percent, run.seed.unwrap())).collect();
    assert_eq!((runs, told.series.len()), (seen, 0));
    let values: Vec<_> = told.runs.iter().map(|run| run.series[0].points[0].value).collect();
    assert_eq!(values, [0.375, 0.5, 0.25, 0.125]);

    let long = "insert into metrics (task_id, attempt, name, step, job_id, epoch, value)
        select t.id, 1, 'train_loss', step, t.job_id, 0, step
        from (select id, job_id from tasks where ordinal = 0) t cross join generate_series(1, 5000) step";
    fixture.sql(&format!("{long} where t.job_id = '{}'", ids[3])).await;
    let request = v1::ListMetricsRequest { names: vec!["train_loss".into()], ..by_run };
    let by_run = fixture.client().jobs().list_metrics(request.clone()).await.unwrap().into_inner();
    let request = v1::ListMetricsRequest { by_run: false, ..request };
    let merged = fixture.client().jobs().list_metrics(request.clone()).await.unwrap().into_inner();
    for points in [&by_run.runs[0].series[0].points, &merged.series[0].points] {
        let steps: Vec<u64> = points.iter().map(|point| point.step).collect();
        assert_eq!(
            (steps.len(), &steps[..3], steps[1000]),
            (1001, &[1, 6, 11][..], 5000),
            "a part, evenly, and the last"
        );
    }
    for (from_step, to_step, expected) in [(2001, 3000, 2001..=3000), (4990, 0, 4990..=5000), (0, 7, 1..=7)] {
        let expected: Vec<u64> = expected.collect();
        let asked = v1::ListMetricsRequest { from_step, to_step, ..request.clone() };
        let merged = fixture.client().jobs().list_metrics(asked.clone()).await.unwrap().into_inner();
        let asked = v1::ListMetricsRequest { by_run: true, ..asked };
        let by_run = fixture.client().jobs().list_metrics(asked).await.unwrap().into_inner();
        for points in [&by_run.runs[0].series[0].points, &merged.series[0].points] {
            assert_eq!(points.iter().map(|point| point.step).collect::<Vec<_>>(), expected, "every batch");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_gone_on_from_is_said_before_anybody_works_on_it() {
    let fixture = Fixture::start().await;
    let other = v1::TrainRecipe { architecture: "resnet18".into(), ..v1::TrainRecipe::default() };
    let rate = Some(v1::FoundRate { job: "rate".into(), method: "minimum-over10".into(), ..v1::FoundRate::default() });
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
async fn what_is_taken_from_a_job_that_did_not_succeed_is_missed_by_name() {
    let fixture = Fixture::start().await;
    let always = |name: &str, spec| v1::JobDefinition { condition: "always".into(), ..job(name, spec) };
    // There is no such dataset yet.
    let ids = fixture.submit(vec![snapshot(), always("early", Spec::Train(from_snapshot()))]).await;
    let error = fixture.job_in(&ids[1], "failed").await.job.unwrap().error;
    assert_eq!(error, "no snapshot can be taken from job \"snapshot\": it is failed: there is no dataset bears");

    let rate = Some(v1::FoundRate { job: "rate".into(), ..v1::FoundRate::default() });
    let find_lr = v1::FindLrSpec { training: Some(from_snapshot()), test: None };
    let deploy = v1::DeploySpec {
        endpoint: "bears".into(),
        model: Some(v1::deploy_spec::Model::ModelFromJob("head".into())),
        timeout_seconds: 20,
    };
    let pipeline = fixture
        .submit_pipeline(with_images([
            job("head", Spec::Train(from_snapshot())),
            job("rate", Spec::FindLr(find_lr)),
            always("on", Spec::Train(from_head())),
            always("deploy", Spec::Deploy(deploy)),
            always("at-rate", Spec::Train(v1::TrainSpec { rate, ..from_snapshot() })),
        ]))
        .await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    for _ in 0..2 {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.fail(&lease, v1::ErrorClass::Fatal, "it diverged").await.unwrap();
    }
    let no_model = "no model can be taken from job \"head\": it is failed: it diverged";
    let no_rate = "no rate can be taken from job \"rate\": it is failed: it diverged";
    for (job, said) in pipeline.jobs[5..].iter().zip([no_model, no_model, no_rate]) {
        let error = fixture.job_in(&job.id, "failed").await.job.unwrap().error;
        assert_eq!(error, said, "{}", job.name);
    }
    let request = v1::GetPipelineRequest { id: pipeline.id };
    assert_eq!(fixture.client().jobs().get_pipeline(request).await.unwrap().into_inner().state, "failed");
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
    assert!(refused.to_string().contains("a task of kind sgd_lab does not end"), "{refused}");
    let result = v1::SgdLabResult { slope: 2.9, verdict: "converged".into(), ..v1::SgdLabResult::default() };
    worker.complete(order.lease.as_ref().unwrap(), Done::SgdLab(result)).await.unwrap();
    let told = output(&fixture, &ids[0]).await;
    assert_eq!((told["verdict"].as_str(), told["coefficients"][0].as_f64()), (Some("converged"), Some(2.9)));
}

/// Stores a checkpoint of the order's run and has it count; its object is there before.
async fn checkpoint(fixture: &Fixture, order: &v1::TaskOrder, epoch: u32, step: u64, error_rate: Option<f64>) -> Key {
    let lease = order.lease.clone().unwrap();
    let task = lease.task_id.parse().unwrap();
    let key = Key::Checkpoint { task, attempt: lease.attempt, epoch, step };
    let sha256 = fixture.storage().put(&key, format!("{key}").into()).await.unwrap().to_string();
    let (attempt, text) = (lease.attempt, key.to_string());
    let checkpoint = v1::Checkpoint { attempt, epoch, key: text, sha256, bytes: 9, step, error_rate };
    let request = v1::RecordCheckpointRequest { lease: Some(lease), checkpoint: Some(checkpoint) };
    fixture.client().workers().record_checkpoint(request).await.unwrap();
    key
}

fn goes_on(job: &str, epochs: u32) -> Spec {
    let name = v1::SnapshotName { dataset: "bears".into(), number: 0 };
    let checkpoint = Some(v1::CheckpointName { job_id: job.into(), epochs });
    let snapshot = Some(v1::train_spec::Snapshot::SnapshotName(name));
    Spec::Train(v1::TrainSpec { snapshot, checkpoint, ..v1::TrainSpec::default() })
}

#[tokio::test]
async fn a_run_that_diverged_says_why_and_another_job_goes_on_from_where_it_was_good() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(with_images([job("train", Spec::Train(from_snapshot()))])).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    let order = worker.next_task().await.unwrap();
    let good = checkpoint(&fixture, &order, 1, 8, Some(0.25)).await.to_string();
    checkpoint(&fixture, &order, 2, 16, Some(0.5)).await;
    checkpoint(&fixture, &order, 2, 20, None).await;
    let finding = || v1::Finding {
        problem: "rate_too_high".into(),
        good_epochs: Some(1),
        recipe: Some(v1::TrainRecipe { max_learning_rate: 3e-4, ..v1::TrainRecipe::default() }),
        ..v1::Finding::default()
    };
    let lease = order.lease.as_ref().unwrap();
    worker.fail_run(lease, v1::ErrorClass::Fatal, "diverged", vec![finding()]).await.unwrap();
    let failed = fixture.job_in(&ids[3], "failed").await;
    let output: Value = serde_json::from_str(&failed.job.unwrap().output_json).unwrap();
    assert_eq!(output["findings"][0]["problem"], "rate_too_high");
    assert_eq!((output["findings"][0]["good_epochs"].as_u64(), output.get("model_digest")), (Some(1), None));

    // By name, or the best of those that there are.
    let second = fixture.submit(vec![job("named", goes_on(&ids[3], 1))]).await.remove(0);
    let order = worker.next_task().await.unwrap();
    assert_eq!(training(&order).start.as_ref().unwrap().key, good);
    assert_eq!(training(&order).resume, None);
    let lease = order.lease.as_ref().unwrap();
    worker.fail_run(lease, v1::ErrorClass::Fatal, "diverged again", vec![finding()]).await.unwrap();
    fixture.submit(vec![job("best", goes_on(&second, 0))]).await;
    let order = worker.next_task().await.unwrap();
    assert_eq!(training(&order).start.as_ref().unwrap().key, good, "where nothing was better, its own beginning is");
    worker.complete(order.lease.as_ref().unwrap(), model("whole", CLASSES, 1)).await.unwrap();

    for (job_id, epochs, said) in [(&ids[3], 7, "none after 7 epochs"), (&ids[0], 0, "leave it out to start afresh")] {
        let id = fixture.submit(vec![job("next", goes_on(job_id, epochs))]).await.remove(0);
        let error = fixture.job_in(&id, "failed").await.job.unwrap().error;
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn only_the_checkpoints_that_a_job_wants_are_kept_and_the_objects_of_others_go() {
    let fixture = Fixture::start().await;
    let keep = Some(v1::KeepCheckpoints { last: 1, best: Some(true), every: 4 });
    let spec = v1::TrainSpec { keep_checkpoints: keep, ..from_snapshot() };
    let ids = fixture.submit(with_images([job("train", Spec::Train(spec))])).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    let order = worker.next_task().await.unwrap();
    let mut keys = Vec::new();
    for (epoch, error_rate) in (1..).zip([0.5, 0.25, 0.3, 0.4, 0.5, 0.6]) {
        keys.push(checkpoint(&fixture, &order, epoch, u64::from(epoch) * 8, Some(error_rate)).await);
    }
    keys.push(checkpoint(&fixture, &order, 6, 50, None).await);
    let kept = fixture.job(&ids[3]).await.checkpoints;
    assert_eq!(kept.iter().map(|kept| (kept.epochs, kept.step)).collect::<Vec<_>>(), [(2, 16), (4, 32), (6, 50)]);
    assert_eq!((kept[0].error_rate, kept[2].error_rate), (Some(0.25), None));
    let there = async || {
        let mut there = Vec::new();
        for key in &keys {
            there.push(fixture.storage().exists(key).await.unwrap());
        }
        there
    };
    let expected = [false, true, false, true, false, false, true];
    until("superseded checkpoints to be gone", there, |there| *there == expected).await;
    let keys_left = async || fixture.ask("select count(*) from objects_to_delete").await;
    until("their keys to be forgotten", keys_left, |left| left == "0").await;

    // The next attempt goes on from the last one, and should that be damaged from those before.
    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Returned, "given back").await.unwrap();
    let again = worker.next_task().await.unwrap();
    assert_eq!(training(&again).resume.as_ref().unwrap().key, keys[6].to_string());
    let earlier: Vec<_> = training(&again).earlier.iter().map(|checkpoint| checkpoint.key.clone()).collect();
    assert_eq!(earlier, [keys[3].to_string(), keys[1].to_string()]);
}

#[tokio::test]
async fn a_run_that_is_lost_leaves_the_checkpoint_that_counts_and_nothing_else() {
    let fixture = Fixture::start_with(&["--upload-grace=1s"]).await;
    let ids = fixture.submit(with_images([job("train", Spec::Train(from_snapshot()))])).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    let order = worker.next_task().await.unwrap();
    let counts = checkpoint(&fixture, &order, 1, 8, Some(0.25)).await;
    let ((task, attempt), digest) = (lease_parts(&order), Digest::of(b"model.json"));
    let others = [
        Key::Checkpoint { task, attempt, epoch: 1, step: 12 },
        Key::PackageClaim { task, attempt, digest },
        Key::ModelFile { digest, file: ModelFile::Weights },
        Key::ModelFile { digest, file: ModelFile::Manifest },
    ];
    for key in &others {
        fixture.storage().put(key, "uploaded".into()).await.unwrap();
    }
    drop(worker);

    let mut next = Worker::attach(fixture.client(), "next", 1).await.unwrap();
    let again = next.next_task().await.unwrap();
    let is_cleaned = async || fixture.job(&ids[3]).await.tasks[0].attempts[0].cleaned_at.is_some();
    until("the lost attempt to be cleaned", is_cleaned, |is| *is).await;
    for key in &others {
        assert!(!fixture.storage().exists(key).await.unwrap(), "{key}");
    }
    assert_eq!(training(&again).resume.as_ref().unwrap().key, counts.to_string());
    assert!(fixture.storage().exists(&counts).await.unwrap());
}

#[tokio::test]
async fn an_object_that_could_not_be_deleted_goes_with_the_next_sweep() {
    let fixture =
        Fixture::start_with(&["--lease=5m", "--delete-jobs-after=never", "--delete-deliveries-after=10s"]).await;
    let key = Key::Checkpoint { task: uuid::Uuid::from_u128(7), attempt: 1, epoch: 1, step: 1 };
    fixture.storage().put(&key, "weights".into()).await.unwrap();
    fixture.sql(&format!("insert into objects_to_delete (key) values ('{key}'), ('no key')")).await;
    let left = async || fixture.ask("select count(*) from objects_to_delete").await;
    until("the keys to be forgotten", left, |left| left == "0").await;
    assert!(!fixture.storage().exists(&key).await.unwrap());
}
