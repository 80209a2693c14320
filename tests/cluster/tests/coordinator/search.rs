//! Searches for hyper-parameters: results decide, as they come, which trials go on.

use serde_json::Value;
use ursa_cluster::{Worker, until};
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::{Digest, Key};
use v1::complete_task_request::Result as Done;
use v1::job_definition::Spec;
use v1::search_dimension::Range;
use v1::search_result::End;
use v1::task_order::Work;

use crate::fixture::{Fixture, after, job, scrape, snapshot, verify};

/// So many trials of nine epochs, in rungs to 1, 3 and 9.
fn search(trials: u32) -> v1::SearchSpec {
    let snapshot = Some(v1::train_spec::Snapshot::SnapshotFromJob("snapshot".into()));
    let recipe = Some(v1::TrainRecipe { epochs: 9, ..v1::TrainRecipe::default() });
    v1::SearchSpec {
        training: Some(v1::TrainSpec { snapshot, recipe, ..v1::TrainSpec::default() }),
        space: vec![dimension("max_learning_rate", 1e-4, 1e-2)],
        trials,
        ..v1::SearchSpec::default()
    }
}

fn dimension(name: &str, low: f64, high: f64) -> v1::SearchDimension {
    let range = Some(Range::LogUniform(v1::NumberRange { low, high }));
    v1::SearchDimension { hyperparameter: name.into(), range }
}

/// Submits `job` behind those that make its snapshot, and has `worker` make that.
async fn submit(fixture: &Fixture, worker: &mut Worker, jobs: impl IntoIterator<Item = v1::JobDefinition>) -> String {
    let first = [scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"])];
    let id = fixture.submit(first.into_iter().chain(jobs).collect()).await.remove(3);
    fixture.prepare_images(worker).await;
    id
}

fn part(order: &v1::TaskOrder) -> &v1::SearchTask {
    let Some(Work::Search(task)) = &order.work else { panic!("a search task was expected: {order:?}") };
    task
}

fn rate(order: &v1::TaskOrder) -> f64 {
    let recipe = part(order).training.as_ref().unwrap().recipe.as_ref().unwrap();
    recipe.stages.iter().flat_map(|stage| stage.rates.iter().copied()).fold(0.0, f64::max)
}

/// The end of a part after which there is more to train.
fn rung(epochs: u32, errors: u64) -> Done {
    let result = v1::RungResult { epochs, errors, validated: 8, loss: 0.5 };
    Done::Search(v1::SearchResult { end: Some(End::Rung(result)) })
}

fn diverged() -> Done {
    Done::Search(v1::SearchResult { end: Some(End::Diverged("the loss became inf".into())) })
}

fn model(errors: u64) -> Done {
    let metrics = serde_json::json!({"error_rate": errors as f64 / 8.0, "valid_loss": 0.25});
    let weights = serde_json::json!({"model.safetensors": {"sha256": Digest::of(b"weights").to_string(), "bytes": 1}});
    let model_json = serde_json::json!({
        "architecture": "resnet34", "classes": ["black", "teddy"], "metrics": metrics, "files": weights,
    })
    .to_string();
    let model_digest = Digest::of(model_json.as_bytes()).to_string();
    let error_rates = vec![0.5, errors as f64 / 8.0];
    let result = v1::TrainResult { model_digest, model_json, error_rates, errors, validated: 8, ..Default::default() };
    Done::Search(v1::SearchResult { end: Some(End::Model(result)) })
}

async fn checkpoint(fixture: &Fixture, order: &v1::TaskOrder, epoch: u32, step: u64) -> String {
    let lease = order.lease.clone().unwrap();
    let (task, attempt) = (lease.task_id.parse().unwrap(), lease.attempt);
    let key = Key::Checkpoint { task, attempt, epoch, step };
    let sha256 = fixture.storage().put(&key, key.to_string().into()).await.unwrap().to_string();
    let key = key.to_string();
    let checkpoint = v1::Checkpoint { attempt, epoch, step, key: key.clone(), sha256, ..v1::Checkpoint::default() };
    let request = v1::RecordCheckpointRequest { lease: Some(lease), checkpoint: Some(checkpoint) };
    fixture.client().workers().record_checkpoint(request).await.unwrap();
    key
}

async fn end(worker: &mut Worker, order: &v1::TaskOrder, done: Done) {
    worker.complete(order.lease.as_ref().unwrap(), done).await.unwrap();
}

async fn output(fixture: &Fixture, id: &str) -> Value {
    serde_json::from_str(&fixture.job(id).await.job.unwrap().output_json).unwrap()
}

fn numbers(output: &Value) -> Vec<u64> {
    output["trials"].as_array().unwrap().iter().map(|trial| trial["number"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_best_trials_go_on_from_where_they_were_and_the_best_of_all_becomes_the_model() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let from_search = Some(v1::train_spec::Model::ModelFromJob("search".into()));
    let next = v1::TrainSpec { model: from_search, ..search(1).training.unwrap() };
    let jobs = [job("search", Spec::Search(search(6))), job("next", Spec::Train(next))];
    let id = submit(&fixture, &mut worker, jobs).await;

    let (mut rates, mut checkpoints) = (Vec::new(), Vec::new());
    for errors in [Some(5), Some(1), None, Some(2), Some(4), Some(3)] {
        let order = worker.next_task().await.unwrap();
        let task = part(&order);
        assert_eq!((task.after_epochs, task.until_epochs), (0, 1));
        assert_eq!(task.training.as_ref().unwrap().resume, None);
        rates.push(rate(&order));
        // One in the middle of the epoch, and those that a part always ends with.
        checkpoint(&fixture, &order, 0, 4).await;
        checkpoints.push(checkpoint(&fixture, &order, 1, 8).await);
        end(&mut worker, &order, errors.map_or_else(diverged, |errors| rung(1, errors))).await;
    }
    let different: std::collections::BTreeSet<u64> = rates.iter().map(|rate| rate.to_bits()).collect();
    assert_eq!(different.len(), 6, "{rates:?}");
    assert!(rates.iter().all(|rate| (1e-4..=1e-2).contains(rate)), "{rates:?}");

    // Two of six: the second and the fourth, with the recipes that they had.
    for (place, errors) in [(1, 2), (3, 1)] {
        let order = worker.next_task().await.unwrap();
        let task = part(&order);
        assert_eq!((task.after_epochs, task.until_epochs), (1, 3));
        assert_eq!(rate(&order).to_bits(), rates[place].to_bits());
        let resume = task.training.as_ref().unwrap().resume.as_ref().unwrap();
        assert_eq!(resume.key, checkpoints[place], "it goes on from the end of its last rung");
        checkpoints.push(checkpoint(&fixture, &order, 3, 24).await);
        end(&mut worker, &order, rung(3, errors)).await;
    }
    let told = output(&fixture, &id).await;
    assert_eq!(numbers(&told), [4, 2, 6, 5, 1, 3]);
    assert_eq!((told["best"].as_u64(), told.get("model_digest")), (Some(4), None));

    // A third of two is none, so the best goes on because nothing else is left.
    let order = worker.next_task().await.unwrap();
    assert_eq!((part(&order).after_epochs, part(&order).until_epochs), (3, 9));
    assert_eq!(part(&order).training.as_ref().unwrap().resume.as_ref().unwrap().key, checkpoints[7]);
    end(&mut worker, &order, model(0)).await;
    fixture.job_in(&id, "succeeded").await;
    let told = output(&fixture, &id).await;
    assert_eq!(told["rungs"], serde_json::json!([1, 3, 9]));
    assert_eq!(told["trials"][0]["results"][2]["epochs"], 9);
    let told_rate = told["trials"][0]["settings"]["max_learning_rate"].as_f64().unwrap();
    assert!((told_rate / rates[3] - 1.0).abs() < 1e-9, "{told_rate} {rates:?}");
    assert_eq!(told["trials"][5]["diverged"], "the loss became inf");
    assert_eq!(told["recipe"]["stages"][0]["epochs"], 9);
    let digest = told["model_digest"].as_str().unwrap();

    let order = worker.next_task().await.unwrap();
    let Some(Work::Train(task)) = &order.work else { panic!("{order:?}") };
    let weights = task.recipe.as_ref().unwrap().pretrained.as_ref().unwrap();
    assert_eq!(weights.location, format!("model:{digest}"), "others go on from the best model");
}

#[tokio::test]
async fn nobody_waits_for_the_slowest_trial_where_all_are_at_work() {
    let fixture = Fixture::start().await;
    let mut workers = Vec::new();
    let mut first = Worker::attach(fixture.client(), "worker-0", 1).await.unwrap();
    submit(&fixture, &mut first, [job("search", Spec::Search(search(4)))]).await;
    workers.push(first);
    for place in 1..4 {
        workers.push(Worker::attach(fixture.client(), &format!("worker-{place}"), 1).await.unwrap());
    }
    let mut orders = Vec::new();
    for worker in &mut workers {
        orders.push(worker.next_task().await.unwrap());
    }
    for (place, errors) in [(0, 3), (1, 1), (2, 2)] {
        end(&mut workers[place], &orders[place], rung(1, errors)).await;
    }
    // Whoever of those that have nothing to do gets it first.
    let mut next = None;
    for _ in 0..100 {
        for worker in &mut workers[..3] {
            next = next.or(worker.say().await.unwrap().start.pop());
        }
        if next.is_some() {
            break;
        }
    }
    let next = next.unwrap();
    assert_eq!(part(&next).after_epochs, 1);
    assert_eq!(rate(&next).to_bits(), rate(&orders[1]).to_bits(), "one of three that are known, the best");
}

#[tokio::test]
async fn a_part_that_is_tried_again_goes_on_from_its_own_checkpoint() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    submit(&fixture, &mut worker, [job("search", Spec::Search(search(1)))]).await;
    let order = worker.next_task().await.unwrap();
    checkpoint(&fixture, &order, 0, 4).await;
    let before = checkpoint(&fixture, &order, 1, 8).await;
    assert_eq!(fixture.ask("select key from checkpoints").await, before, "the last one, and no other");
    end(&mut worker, &order, rung(1, 3)).await;
    let order = worker.next_task().await.unwrap();
    assert_eq!(part(&order).training.as_ref().unwrap().resume.as_ref().unwrap().key, before);
    let own = checkpoint(&fixture, &order, 2, 16).await;
    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Returned, "given back").await.unwrap();
    let again = worker.next_task().await.unwrap();
    let training = part(&again).training.as_ref().unwrap();
    assert_eq!(training.resume.as_ref().unwrap().key, own);
    let earlier: Vec<_> = training.earlier.iter().map(|checkpoint| &checkpoint.key).collect();
    assert_eq!(earlier, [&before], "that of the part before");
    assert_eq!((part(&again).after_epochs, part(&again).until_epochs), (1, 3));
}

#[tokio::test]
async fn a_search_goes_on_when_whoever_it_waited_for_is_lost() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let tolerant = v1::JobDefinition { min_success_ratio: 0.5, ..job("search", Spec::Search(search(2))) };
    let id = submit(&fixture, &mut worker, [tolerant]).await;
    let good = worker.next_task().await.unwrap();
    end(&mut worker, &good, rung(1, 3)).await;
    let bad = worker.next_task().await.unwrap();
    worker.fail(bad.lease.as_ref().unwrap(), v1::ErrorClass::Fatal, "a picture cannot be read").await.unwrap();
    for (done, after) in [(rung(3, 2), 1), (model(1), 3)] {
        let order = worker.next_task().await.unwrap();
        assert_eq!(part(&order).after_epochs, after);
        assert_eq!(rate(&order).to_bits(), rate(&good).to_bits());
        end(&mut worker, &order, done).await;
    }
    fixture.job_in(&id, "succeeded").await;
    assert_eq!(numbers(&output(&fixture, &id).await), [1, 2]);
}

#[tokio::test]
async fn a_search_whose_trials_all_diverge_fails_and_says_so() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let id = submit(&fixture, &mut worker, [job("search", Spec::Search(search(2)))]).await;
    for _ in 0..2 {
        let order = worker.next_task().await.unwrap();
        end(&mut worker, &order, diverged()).await;
    }
    let error = fixture.job_in(&id, "failed").await.job.unwrap().error;
    assert!(error.contains("2 of 2 diverged"), "{error}");
}

#[tokio::test]
async fn a_search_that_was_cancelled_goes_on_with_another_round() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let id = submit(&fixture, &mut worker, [job("search", Spec::Search(search(3)))]).await;
    let first = worker.next_task().await.unwrap();
    end(&mut worker, &first, rung(1, 1)).await;
    let second = worker.next_task().await.unwrap();
    fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: id.clone() }).await.unwrap();
    // Its worker was done before it heard of it.
    end(&mut worker, &second, rung(1, 2)).await;
    let cancelled = fixture.job_in(&id, "cancelled").await;
    assert_eq!(cancelled.job.unwrap().tasks.unwrap().total, 3, "nobody goes on in a job that shall end");
    fixture.client().jobs().retry_job(v1::RetryJobRequest { id: id.clone() }).await.unwrap();
    let third = worker.next_task().await.unwrap();
    assert_eq!(part(&third).after_epochs, 0);
    end(&mut worker, &third, rung(1, 3)).await;
    let order = worker.next_task().await.unwrap();
    assert_eq!(rate(&order).to_bits(), rate(&first).to_bits());
    assert_eq!(part(&order).after_epochs, 1);
}

#[tokio::test]
async fn a_result_that_does_not_belong_to_the_part_is_refused_and_changes_nothing() {
    let fixture = Fixture::start().await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let id = submit(&fixture, &mut worker, [job("search", Spec::Search(search(1)))]).await;
    let order = worker.next_task().await.unwrap();
    let infinite = v1::RungResult { epochs: 1, errors: 1, validated: 8, loss: f64::INFINITY };
    let cases = [
        (rung(3, 1), "ends after 1"),
        (model(1), "say `rung`"),
        (Done::Search(v1::SearchResult { end: Some(End::Rung(infinite)) }), "say `diverged`"),
        (Done::Search(v1::SearchResult { end: None }), "is missing"),
        (Done::Train(v1::TrainResult::default()), "a task of kind search does not end"),
    ];
    for (done, said) in cases {
        let request = v1::CompleteTaskRequest { lease: order.lease.clone(), result: Some(done) };
        let error = ApiError::from(fixture.client().workers().complete_task(request).await.unwrap_err());
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(said), "{said}: {error}");
    }
    assert_eq!(output(&fixture, &id).await["trials"][0]["results"], serde_json::json!([]));
    end(&mut worker, &order, rung(1, 1)).await;
    let again = v1::CompleteTaskRequest { lease: order.lease.clone(), result: Some(rung(1, 1)) };
    fixture.client().workers().complete_task(again).await.unwrap();
    let told = output(&fixture, &id).await;
    assert_eq!(told["trials"][0]["results"].as_array().unwrap().len(), 1, "a repeated word counts once");
    let total = async || fixture.job(&id).await.job.unwrap().tasks.unwrap().total;
    until("the trial to go on once", total, |total| *total == 2).await;
}

/// Makes a sound search one that cannot be made.
type Spoil = fn(&mut v1::SearchSpec);

#[tokio::test]
async fn a_search_that_cannot_be_made_is_refused_before_anything_is_stored() {
    let fixture = Fixture::start().await;
    let cases: [(&str, Spoil); 7] = [
        ("space is empty", |search| search.space.clear()),
        ("did you mean \"dropout\"?", |search| search.space[0].hyperparameter = "dropuot".into()),
        ("reduction is 1", |search| search.reduction = 1),
        ("min_epochs is 10, but a trial has 9", |search| search.min_epochs = 10),
        ("trials is 5000", |search| search.trials = 5000),
        ("which is no range", |search| search.space[0] = dimension("dropout", 0.5, 0.1)),
        ("space.dropout", |search| search.space[0] = dimension("dropout", 0.5, 1.5)),
    ];
    for (said, change) in cases {
        let mut spec = search(4);
        change(&mut spec);
        let jobs = vec![snapshot(), job("search", Spec::Search(spec))];
        let pipeline = Some(v1::PipelineSpec { name: "bad".into(), jobs, ..v1::PipelineSpec::default() });
        let request = v1::SubmitPipelineRequest { pipeline, idempotency_key: String::new() };
        let error = ApiError::from(fixture.client().jobs().submit_pipeline(request).await.unwrap_err());
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(said), "{said}: {error}");
    }
    assert_eq!(fixture.ask("select count(*) from jobs").await, "0");
}
