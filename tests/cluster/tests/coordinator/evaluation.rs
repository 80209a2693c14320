//! Models on snapshots that are not their own: who may ask what, which result counts, and what is told of it.

use serde_json::Value;
use ursa_cluster::Worker;
use ursa_domain::evaluation::Evaluation;
use ursa_domain::interpret::Prediction;
use ursa_domain::run::{EvaluatedModel, StoredObject};
use ursa_domain::split::Side;
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::Key;
use ursa_storage::predictions::{PredictionRow, to_parquet};
use uuid::Uuid;
use v1::complete_task_request::Result as Done;
use v1::evaluate_spec::{Model, Snapshot};
use v1::job_definition::Spec;
use v1::task_order::Work;

use crate::fixture::{Fixture, job, trained, with_model};

/// What the model tells apart: all that the pictures are, in another order than theirs, and what none of them is.
const CLASSES: [&str; 3] = ["teddy", "panda", "black"];
/// As many pictures the fixture prepares.
const IMAGES: u64 = 60;

/// A model, and a worker with nothing to do.
struct Stage {
    fixture: Fixture,
    worker: Worker,
    /// Its digest.
    model: String,
}

impl Stage {
    /// Trains the model on bears@1, and freezes bears@2.
    async fn start() -> Self {
        let fixture = Fixture::start().await;
        let (mut worker, _) = with_model(&fixture, &CLASSES, Vec::new()).await;
        let models =
            fixture.client().models().list_models(v1::ListModelsRequest::default()).await.unwrap().into_inner();
        let model = models.models[0].digest.clone();
        let spec = v1::SnapshotSpec { dataset: "bears".into(), seed: 43, valid_percent: 30 };
        let second = fixture.submit(vec![job("second", Spec::Snapshot(spec))]).await.remove(0);
        fixture.job_in(&second, "succeeded").await;
        worker.say().await.unwrap();
        Self { fixture, worker, model }
    }

    /// Submits a job that evaluates the model on bears@2; its id.
    async fn submit(&self) -> String {
        self.fixture.submit(vec![evaluate(named(2), Model::ModelDigest(self.model[..8].into()))]).await.remove(0)
    }

    async fn model(&self) -> v1::Model {
        let request = v1::GetModelRequest { digest: self.model.clone() };
        self.fixture.client().models().get_model(request).await.unwrap().into_inner()
    }

    async fn snapshot_digest(&self, number: u32) -> String {
        self.fixture.ask(&format!("select digest from snapshots where number = {number}")).await
    }

    async fn interpret(&self, snapshot: &str, side: &str) -> Result<v1::Interpretation, ApiError> {
        let request = v1::InterpretModelRequest {
            digest: self.model.clone(),
            side: side.into(),
            limit: 0,
            snapshot: snapshot.into(),
        };
        Ok(self.fixture.client().models().interpret_model(request).await?.into_inner())
    }
}

fn named(number: u32) -> Snapshot {
    Snapshot::SnapshotName(v1::SnapshotName { dataset: "bears".into(), number })
}

fn evaluate(snapshot: Snapshot, model: Model) -> v1::JobDefinition {
    job("evaluate", Spec::Evaluate(v1::EvaluateSpec { snapshot: Some(snapshot), model: Some(model) }))
}

fn task(order: &v1::TaskOrder) -> &v1::EvaluateTask {
    match order.work.as_ref().unwrap() {
        Work::Evaluate(task) => task,
        other => panic!("{other:?}"),
    }
}

/// What the model says of every picture that there is: the first `wrong` black ones are taken for teddies, and are on the
/// valid side; the others are right, and on the train side.
async fn rows(fixture: &Fixture, wrong: usize) -> Vec<PredictionRow> {
    let mut rows = Vec::new();
    for (class, actual) in [("black", 2), ("teddy", 0)] {
        let page = Some(v1::PageRequest { size: 1000, ..v1::PageRequest::default() });
        let request =
            v1::ListImagesRequest { dataset: "bears".into(), class: class.into(), page, ..Default::default() };
        let images = fixture.client().datasets().list_images(request).await.unwrap().into_inner().images;
        rows.extend(images.iter().enumerate().map(|(place, image)| {
            let is_wrong = class == "black" && place < wrong;
            let probabilities =
                if is_wrong || actual == 0 { vec![0.75, 0.125, 0.125] } else { vec![0.125, 0.125, 0.75] };
            let loss = -f64::from(probabilities[actual as usize]).ln();
            let predicted = if is_wrong { 0 } else { actual };
            let id: Uuid = image.id.parse().unwrap();
            PredictionRow {
                side: if is_wrong { Side::Valid } else { Side::Train },
                prediction: Prediction { id, actual, predicted, probabilities, loss },
                embedding: vec![1.0],
            }
        }));
    }
    rows
}

/// Stores `rows` as the attempt of `order`; what a worker then says.
async fn evaluated(fixture: &Fixture, order: &v1::TaskOrder, rows: &[PredictionRow]) -> v1::EvaluateResult {
    let lease = order.lease.as_ref().unwrap();
    let key = Key::Evaluation { task: lease.task_id.parse().unwrap(), attempt: lease.attempt };
    let classes = CLASSES.map(str::to_owned);
    let bytes = to_parquet(&classes, rows).unwrap();
    let size = bytes.len() as u64;
    let sha256 = fixture.storage().put(&key, bytes).await.unwrap().to_string();
    let predictions: Vec<_> = rows.iter().map(|row| row.prediction.clone()).collect();
    let evaluation = Evaluation::of(&predictions, &classes);
    EvaluatedModel { predictions: StoredObject { key: key.to_string(), sha256, bytes: size }, evaluation }.into()
}

#[tokio::test]
async fn a_model_is_asked_about_another_snapshot_and_told_of_image_by_image() {
    let mut stage = Stage::start().await;
    let id = stage.submit().await;
    let order = stage.worker.next_task().await.unwrap();
    let (one, two) = (stage.snapshot_digest(1).await, stage.snapshot_digest(2).await);
    assert_ne!(one, two);
    let asked = task(&order);
    assert_eq!((asked.dataset.as_str(), asked.snapshot_number, &asked.snapshot_digest), ("bears", 2, &two));
    assert_eq!((&asked.model_digest, &order.job_id), (&stage.model, &id));
    let rows = rows(&stage.fixture, 3).await;
    let result = evaluated(&stage.fixture, &order, &rows).await;
    let lease = order.lease.as_ref().unwrap();
    stage.worker.complete(lease, Done::Evaluate(result.clone())).await.unwrap();
    stage.worker.complete(lease, Done::Evaluate(result)).await.expect("repeating it after a lost answer is harmless");

    let job = stage.fixture.job_in(&id, "succeeded").await.job.unwrap();
    let progress = job.progress.unwrap();
    assert_eq!((progress.done, progress.total, progress.unit.as_str()), (IMAGES, IMAGES, "images"));
    let output: Value = serde_json::from_str(&job.output_json).unwrap();
    assert_eq!(
        (&output["model_digest"], &output["snapshot_digest"]),
        (&stage.model.as_str().into(), &two.as_str().into())
    );
    assert_eq!((output["dataset"].as_str(), output["number"].as_u64()), (Some("bears"), Some(2)));
    assert_eq!((output["errors"].as_u64(), output["images"].as_u64()), (Some(3), Some(IMAGES)));
    assert_eq!(output["classes"][1], serde_json::json!({"class": "panda", "wrong": 0, "of": 0}));
    assert_eq!(output["classes"][2], serde_json::json!({"class": "black", "wrong": 3, "of": 30}));
    let events = stage.fixture.events(&id, 0).await;
    assert!(events.iter().any(|event| event.message.contains("3/60 = 5.0 %") && event.message.contains("bears@2")));

    let told = stage.model().await.evaluations;
    assert_eq!((told.len(), &told[0].snapshot_digest, told[0].snapshot_number), (1, &two, 2));
    let counts: Vec<_> = told[0].class_errors.iter().map(|errors| (errors.wrong, errors.of)).collect();
    assert_eq!((counts, told[0].errors.unwrap().wrong), (vec![(0, 30), (0, 0), (3, 30)], 3));
    assert_eq!((&told[0].job_id, told[0].dataset.as_str()), (&id, "bears"));

    let all = stage.interpret(&two[..8], "").await.unwrap();
    assert_eq!((all.side.as_str(), all.images, all.errors.unwrap().wrong), ("all", IMAGES, 3));
    assert_eq!((all.dataset.as_str(), all.snapshot_number, &all.snapshot_digest), ("bears", 2, &two));
    assert_eq!(all.classes, CLASSES);
    assert_eq!(all.most_confused, [v1::ConfusedPair { actual: 2, predicted: 0, count: 3 }]);
    assert!(all.top_losses[0].url.starts_with("http://web.test/black/"), "{:?}", all.top_losses[0]);
    let valid = stage.interpret(&two, "valid").await.unwrap();
    assert_eq!((valid.side.as_str(), valid.images, valid.errors.unwrap().wrong), ("valid", 3, 3));
    let learned = stage.interpret(&two.to_uppercase(), "train").await.unwrap();
    assert_eq!((learned.images, learned.errors.unwrap().wrong), (IMAGES - 3, 0));
}

#[tokio::test]
async fn a_snapshot_that_a_model_was_not_asked_about_is_not_found_and_the_job_named_that_asks() {
    let stage = Stage::start().await;
    let refused = async |snapshot: &str, side: &str| stage.interpret(snapshot, side).await.unwrap_err();
    let two = stage.snapshot_digest(2).await;
    let missing = refused(&two[..10], "").await;
    let short = &stage.model[..12];
    let expected = format!("submit a job {{kind: evaluate, snapshot: bears@2, model: {short}}}");
    assert!(missing.code == ErrorCode::NotFound && missing.message.ends_with(&expected), "{missing}");
    let own = refused(&stage.snapshot_digest(1).await, "").await;
    assert!(own.code == ErrorCode::NotFound && own.message.contains("leave the snapshot out"), "{own}");
    let unknown = refused("0123456789", "").await;
    assert!(unknown.code == ErrorCode::NotFound && unknown.message.contains("no snapshot 0123456789"), "{unknown}");
    for (snapshot, side, said) in [
        ("bears@2", "", "not a snapshot's digest"),
        (&two[..7], "", "8 hexadecimal"),
        (&two, "test", "valid, train or all"),
    ] {
        let error = refused(snapshot, side).await;
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(said), "{error}");
    }
    assert!(stage.model().await.evaluations.is_empty());
}

#[tokio::test]
async fn a_result_that_does_not_add_up_is_refused() {
    type Spoil = (&'static str, fn(&mut v1::EvaluateResult));
    let mut stage = Stage::start().await;
    let id = stage.submit().await;
    let order = stage.worker.next_task().await.unwrap();
    let good = evaluated(&stage.fixture, &order, &rows(&stage.fixture, 1).await).await;
    let spoils: [Spoil; 9] = [
        ("predictions: is missing", |result| result.predictions = None),
        ("predictions.key is", |result| {
            let predictions = result.predictions.as_mut().unwrap();
            predictions.key = predictions.key.replace("/1.parquet", "/2.parquet");
        }),
        ("predictions.bytes is", |result| result.predictions.as_mut().unwrap().bytes = u64::MAX),
        ("predictions.sha256", |result| result.predictions.as_mut().unwrap().sha256 = "00".into()),
        ("loss is NaN", |result| result.loss = f64::NAN),
        ("classes are", |result| result.classes.swap(0, 2)),
        ("31 of 30 images of class \"teddy\"", |result| result.classes[0].wrong = 31),
        ("61 images are told of; the snapshot has 60", |result| result.classes[1].of = 1),
        ("too many images", |result| result.classes.iter_mut().for_each(|class| class.of = u64::MAX)),
    ];
    let lease = order.lease.as_ref().unwrap();
    for (expected, spoil) in spoils {
        let mut result = good.clone();
        spoil(&mut result);
        let error = stage.worker.complete(lease, Done::Evaluate(result)).await.unwrap_err();
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(expected), "{expected}: {error}");
    }
    let other = stage.worker.complete(lease, trained()).await.unwrap_err();
    assert!(other.message.contains("a task of kind evaluate does not end"), "{other}");
    assert!(stage.model().await.evaluations.is_empty());
    stage.worker.complete(lease, Done::Evaluate(good)).await.unwrap();
    stage.fixture.job_in(&id, "succeeded").await;
}

#[tokio::test]
async fn who_has_lost_the_lease_changes_nothing_of_what_is_told() {
    let mut stage = Stage::start().await;
    let id = stage.submit().await;
    let first = stage.worker.next_task().await.unwrap();
    let lost = first.lease.clone().unwrap();
    let late = evaluated(&stage.fixture, &first, &rows(&stage.fixture, 9).await).await;
    let mut other = Worker::attach(stage.fixture.client(), "other", 1).await.unwrap();
    let second = other.next_task().await.unwrap();
    let held = second.lease.clone().unwrap();
    assert_eq!((&held.task_id, held.attempt), (&lost.task_id, 2));

    let fenced = stage.worker.complete(&lost, Done::Evaluate(late.clone())).await.unwrap_err();
    assert_eq!(fenced.code, ErrorCode::LeaseLost, "{fenced}");
    assert!(stage.model().await.evaluations.is_empty());
    let result = evaluated(&stage.fixture, &second, &rows(&stage.fixture, 2).await).await;
    other.complete(&held, Done::Evaluate(result)).await.unwrap();
    let fenced = stage.worker.complete(&lost, Done::Evaluate(late)).await.unwrap_err();
    assert_eq!(fenced.code, ErrorCode::LeaseLost, "{fenced}");
    stage.fixture.job_in(&id, "succeeded").await;
    let told = stage.interpret(&stage.snapshot_digest(2).await, "").await.unwrap();
    assert_eq!(told.errors.unwrap().wrong, 2);
}

#[tokio::test]
async fn an_unchanged_evaluation_is_taken_over_and_a_fresh_one_takes_the_place_of_the_last() {
    let mut stage = Stage::start().await;
    let model = Model::ModelDigest(stage.model.clone());
    let pipeline = stage.fixture.submit_pipeline(vec![evaluate(named(2), model)]).await;
    let order = stage.worker.next_task().await.unwrap();
    let first = evaluated(&stage.fixture, &order, &rows(&stage.fixture, 5).await).await;
    stage.worker.complete(order.lease.as_ref().unwrap(), Done::Evaluate(first.clone())).await.unwrap();
    let done = stage.fixture.job_in(&pipeline.jobs[0].id, "succeeded").await.job.unwrap();

    let rerun =
        |fresh| v1::RerunPipelineRequest { id: pipeline.id.clone(), fresh, ..v1::RerunPipelineRequest::default() };
    let again =
        stage.fixture.client().jobs().rerun_pipeline(rerun(false)).await.unwrap().into_inner().pipeline.unwrap();
    let cached = stage.fixture.job_in(&again.jobs[0].id, "succeeded").await.job.unwrap();
    assert_eq!((&cached.cached_from, &cached.output_json), (&done.id, &done.output_json));

    let fresh = stage.fixture.client().jobs().rerun_pipeline(rerun(true)).await.unwrap().into_inner().pipeline.unwrap();
    let order = stage.worker.next_task().await.unwrap();
    assert_eq!(order.job_id, fresh.jobs[0].id);
    let second = evaluated(&stage.fixture, &order, &rows(&stage.fixture, 4).await).await;
    stage.worker.complete(order.lease.as_ref().unwrap(), Done::Evaluate(second)).await.unwrap();
    let told = stage.model().await.evaluations;
    assert_eq!((told.len(), told[0].errors.unwrap().wrong, &told[0].job_id), (1, 4, &fresh.jobs[0].id));
    let interpreted = stage.interpret(&told[0].snapshot_digest, "").await.unwrap();
    assert_eq!(interpreted.errors.unwrap().wrong, 4);
    let superseded = stage.fixture.ask("select string_agg(key, ',') from objects_to_delete").await;
    assert_eq!(superseded, first.predictions.unwrap().key, "nothing names the first predictions any more");
}

#[tokio::test]
async fn a_model_that_does_not_know_a_class_is_refused_before_anybody_works_on_it() {
    let fixture = Fixture::start().await;
    let last = evaluate(Snapshot::SnapshotFromJob("snapshot".into()), Model::ModelFromJob("train".into()));
    let (_worker, ids) = with_model(&fixture, &["black", "grizzly"], vec![last]).await;
    let failed = fixture.job_in(&ids[4], "failed").await;
    let error = failed.job.unwrap().error;
    assert!(error.contains("does not know teddy: it tells apart black, grizzly"), "{error}");
    assert!(failed.tasks.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_not_evaluated() {
    let stage = Stage::start().await;
    let known = || Model::ModelDigest(stage.model.clone());
    for (snapshot, model, said) in [
        (named(7), known(), "no snapshot bears@7"),
        (named(2), Model::ModelDigest("0123456789".into()), "no model 0123456789"),
    ] {
        let id = stage.fixture.submit(vec![evaluate(snapshot, model)]).await.remove(0);
        let error = stage.fixture.job_in(&id, "failed").await.job.unwrap().error;
        assert!(error.contains(said), "{said}: {error}");
    }
}
