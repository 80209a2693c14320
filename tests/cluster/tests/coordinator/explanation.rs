//! What in images speaks for a class: what may be asked of whom, which result counts, and what is told of it.

use bytes::Bytes;
use serde_json::Value;
use ursa_cluster::Worker;
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::Key;
use uuid::Uuid;
use v1::complete_task_request::Result as Done;
use v1::explain_spec::{Model, Of};
use v1::job_definition::Spec;
use v1::task_order::Work;

use crate::fixture::{Fixture, job, trained, with_model};

/// What the model tells apart: all that the pictures are, and what none of them is.
const CLASSES: [&str; 3] = ["teddy", "panda", "black"];

/// A model, and a worker with nothing to do.
struct Stage {
    fixture: Fixture,
    worker: Worker,
    /// Its digest.
    model: String,
    /// An image that is labelled so.
    black: String,
    /// An image that is labelled so.
    teddy: String,
}

impl Stage {
    async fn start(classes: &[&str]) -> Self {
        let fixture = Fixture::start().await;
        let (worker, _) = with_model(&fixture, classes, Vec::new()).await;
        let model = fixture.ask("select digest from models").await;
        let (black, teddy) = (image(&fixture, "black").await, image(&fixture, "teddy").await);
        Self { fixture, worker, model, black, teddy }
    }

    async fn submit(&self, images: &[&str], of: Option<Of>) -> String {
        self.fixture.submit(vec![explain(&self.model[..8], images, of)]).await.remove(0)
    }

    /// Why a job that cannot be planned failed; nobody got to work on it.
    async fn refusal(&self, model: &str, images: &[&str], of: Option<Of>) -> String {
        let id = self.fixture.submit(vec![explain(model, images, of)]).await.remove(0);
        let failed = self.fixture.job_in(&id, "failed").await;
        assert!(failed.tasks.is_empty());
        failed.job.unwrap().error
    }

    async fn heatmap(&self, image: &str, class: &str) -> Result<v1::Heatmap, ApiError> {
        let request =
            v1::GetHeatmapRequest { digest: self.model[..8].into(), image_id: image.into(), class: class.into() };
        Ok(self.fixture.client().models().get_heatmap(request).await?.into_inner())
    }
}

/// The id of an image of a class.
async fn image(fixture: &Fixture, class: &str) -> String {
    let request = v1::ListImagesRequest { dataset: "bears".into(), class: class.into(), ..Default::default() };
    fixture.client().datasets().list_images(request).await.unwrap().into_inner().images.remove(0).id
}

fn explain(model: &str, images: &[&str], of: Option<Of>) -> v1::JobDefinition {
    let image_ids = images.iter().map(ToString::to_string).collect();
    job("why", Spec::Explain(v1::ExplainSpec { model: Some(Model::ModelDigest(model.into())), image_ids, of }))
}

fn task(order: &v1::TaskOrder) -> &v1::ExplainTask {
    match order.work.as_ref().unwrap() {
        Work::Explain(task) => task,
        other => panic!("{other:?}"),
    }
}

/// What a worker says that takes every image for a teddy, and stores `word` as each picture.
async fn explained(fixture: &Fixture, order: &v1::TaskOrder, word: &'static str) -> v1::ExplainResult {
    let lease = order.lease.as_ref().unwrap();
    let mut images = Vec::new();
    for image in &task(order).images {
        let (task, image_id) = (lease.task_id.parse().unwrap(), image.image_id.parse().unwrap());
        let key = Key::Heatmap { task, attempt: lease.attempt, image: image_id };
        let sha256 = fixture.storage().put(&key, Bytes::from_static(word.as_bytes())).await.unwrap().to_string();
        let overlay = v1::StoredObject { key: key.to_string(), sha256, bytes: word.len() as u64 };
        images.push(v1::ExplainedImage {
            image_id: image.image_id.clone(),
            class: if image.class.is_empty() { "teddy".into() } else { image.class.clone() },
            probability: 0.125,
            predicted: "teddy".into(),
            side: 2,
            values: vec![0.0, 1.5, 0.1, 0.0],
            overlay: Some(overlay),
        });
    }
    v1::ExplainResult { images }
}

#[tokio::test]
async fn images_are_explained_for_their_labels_and_the_heatmaps_are_there_to_be_asked_for() {
    let mut stage = Stage::start(&CLASSES).await;
    let (black, teddy) = (stage.black.clone(), stage.teddy.clone());
    let missing = stage.heatmap(&black, "").await.unwrap_err();
    let hint = format!(
        "submit a job {{kind: explain, model: {}, images: [{black}], of: {{class: black}}}}",
        &stage.model[..12]
    );
    assert!(missing.code == ErrorCode::NotFound && missing.message.ends_with(&hint), "{missing}");

    let id = stage.submit(&[&teddy, &black], None).await;
    let order = stage.worker.next_task().await.unwrap();
    let asked = task(&order);
    assert_eq!((&asked.model_digest, &order.job_id), (&stage.model, &id));
    let told: Vec<_> = asked.images.iter().map(|image| (&image.image_id, image.class.as_str())).collect();
    assert_eq!(told, [(&teddy, "teddy"), (&black, "black")]);
    let place = &asked.images[1];
    let range = place.shard_offset..place.shard_offset + place.shard_length;
    let picture = stage.fixture.storage().get_range(&place.shard_key.parse().unwrap(), range).await.unwrap();
    assert!(picture.starts_with(b"http://web.test/black/"), "where the picture lies: {picture:?}");

    let result = explained(&stage.fixture, &order, "bright").await;
    let lease = order.lease.as_ref().unwrap();
    stage.worker.complete(lease, Done::Explain(result.clone())).await.unwrap();
    stage.worker.complete(lease, Done::Explain(result)).await.expect("repeating it after a lost answer is harmless");
    let job = stage.fixture.job_in(&id, "succeeded").await.job.unwrap();
    let progress = job.progress.unwrap();
    assert_eq!((progress.done, progress.total, progress.unit.as_str()), (2, 2, "images"));
    let output: Value = serde_json::from_str(&job.output_json).unwrap();
    assert_eq!(
        (&output["model_digest"], &output["images"][1]["class"]),
        (&stage.model.as_str().into(), &"black".into())
    );

    let found = stage.heatmap(&black, "").await.unwrap();
    assert_eq!((&found.digest, &found.image_id, &found.job_id), (&stage.model, &black, &id));
    assert_eq!((found.class.as_str(), found.predicted.as_str(), found.side), ("black", "teddy", 2));
    assert_eq!((found.values, found.overlay_png), (vec![0.0, 1.5, 0.1, 0.0], Bytes::from_static(b"bright")));
    assert!((found.probability - 0.125).abs() < f32::EPSILON);
    assert_eq!(stage.heatmap(&black, "black").await.unwrap().class, "black");
    assert_eq!(stage.heatmap(&black, "teddy").await.unwrap_err().code, ErrorCode::NotFound);
    let nowhere = stage.heatmap(&Uuid::nil().to_string(), "black").await.unwrap_err();
    assert!(nowhere.code == ErrorCode::NotFound && nowhere.message.contains("no image"), "{nowhere}");
    assert_eq!(stage.heatmap("bear.jpg", "").await.unwrap_err().code, ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn another_class_may_be_named_or_left_to_the_model() {
    let mut stage = Stage::start(&CLASSES).await;
    for (of, asked, told) in [(Of::Class("panda".into()), "panda", "panda"), (Of::Predicted(true), "", "teddy")] {
        let id = stage.submit(&[&stage.black], Some(of)).await;
        let order = stage.worker.next_task().await.unwrap();
        assert_eq!(task(&order).images[0].class, asked);
        let result = explained(&stage.fixture, &order, "bright").await;
        stage.worker.complete(order.lease.as_ref().unwrap(), Done::Explain(result)).await.unwrap();
        stage.fixture.job_in(&id, "succeeded").await;
        assert_eq!(stage.heatmap(&stage.black, told).await.unwrap().job_id, id);
    }
    assert_eq!(stage.heatmap(&stage.black, "").await.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn unchanged_reasons_are_taken_over_and_fresh_ones_take_the_place_of_the_last() {
    let mut stage = Stage::start(&CLASSES).await;
    let pipeline = stage.fixture.submit_pipeline(vec![explain(&stage.model, &[&stage.black], None)]).await;
    let order = stage.worker.next_task().await.unwrap();
    let first = explained(&stage.fixture, &order, "first").await;
    stage.worker.complete(order.lease.as_ref().unwrap(), Done::Explain(first.clone())).await.unwrap();
    let done = stage.fixture.job_in(&pipeline.jobs[0].id, "succeeded").await.job.unwrap();

    let rerun = async |fresh| {
        let request =
            v1::RerunPipelineRequest { id: pipeline.id.clone(), fresh, ..v1::RerunPipelineRequest::default() };
        let answer = stage.fixture.client().jobs().rerun_pipeline(request).await.unwrap().into_inner();
        answer.pipeline.unwrap().jobs.remove(0).id
    };
    let again = rerun(false).await;
    let cached = stage.fixture.job_in(&again, "succeeded").await.job.unwrap();
    assert_eq!((&cached.cached_from, &cached.output_json), (&done.id, &done.output_json));

    let fresh = rerun(true).await;
    let order = stage.worker.next_task().await.unwrap();
    assert_eq!(order.job_id, fresh);
    let second = explained(&stage.fixture, &order, "second").await;
    stage.worker.complete(order.lease.as_ref().unwrap(), Done::Explain(second)).await.unwrap();
    let found = stage.heatmap(&stage.black, "").await.unwrap();
    assert_eq!((found.job_id, found.overlay_png), (fresh, Bytes::from_static(b"second")));
    let superseded = stage.fixture.ask("select string_agg(key, ',') from objects_to_delete").await;
    assert_eq!(superseded, first.images[0].overlay.as_ref().unwrap().key, "nothing names the first picture any more");
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused_before_anybody_works_on_it() {
    let stage = Stage::start(&["black", "grizzly"]).await;
    let (black, teddy, nobody) = (stage.black.as_str(), stage.teddy.as_str(), Uuid::nil().to_string());
    let model = &stage.model[..8];
    let panda = Some(Of::Class("panda".into()));
    for (model, images, of, said) in [
        ("0123456789", vec![black], None, "no model 0123456789".to_owned()),
        (model, vec![black, &nobody], None, format!("no verified image {nobody}")),
        (model, vec![black], panda, "does not know \"panda\": it tells apart black, grizzly".to_owned()),
        (model, vec![black, teddy], None, format!("image {teddy}: the model does not know \"teddy\"")),
    ] {
        let error = stage.refusal(model, &images, of).await;
        assert!(error.contains(&said), "{said}: {error}");
    }
    stage.fixture.sql(&format!("update images set normal_shard = null where id = '{black}'")).await;
    let error = stage.refusal(model, &[black], None).await;
    assert!(error.contains("no verified image"), "{error}");
}

#[tokio::test]
async fn what_the_model_takes_an_image_for_is_explained_whatever_its_label() {
    let mut stage = Stage::start(&["black", "grizzly"]).await;
    stage.submit(&[&stage.teddy], Some(Of::Predicted(true))).await;
    let order = stage.worker.next_task().await.unwrap();
    assert_eq!(task(&order).images[0].image_id, stage.teddy);
}

#[tokio::test]
async fn a_result_that_does_not_add_up_is_refused() {
    type Spoil = (&'static str, fn(&mut v1::ExplainResult));
    let mut stage = Stage::start(&CLASSES).await;
    let id = stage.submit(&[&stage.black, &stage.teddy], None).await;
    let order = stage.worker.next_task().await.unwrap();
    let good = explained(&stage.fixture, &order, "bright").await;
    let spoils: [Spoil; 10] = [
        ("those of the task are", |result| result.images.truncate(1)),
        ("those of the task are", |result| result.images.swap(0, 1)),
        ("\"black\" was asked for", |result| result.images[0].class = "teddy".into()),
        ("does not know \"wolf\"", |result| result.images[1].predicted = "wolf".into()),
        ("probability is NaN", |result| result.images[0].probability = f32::NAN),
        ("4 values are no evidence in 3×3", |result| result.images[0].side = 3),
        ("each 0 or more", |result| result.images[0].values[2] = -1.0),
        ("overlay: is missing", |result| result.images[0].overlay = None),
        ("overlay.key is", |result| result.images[0].overlay = result.images[1].overlay.clone()),
        ("overlay.sha256", |result| result.images[0].overlay.as_mut().unwrap().sha256 = "00".into()),
    ];
    let lease = order.lease.as_ref().unwrap();
    for (expected, spoil) in spoils {
        let mut result = good.clone();
        spoil(&mut result);
        let error = stage.worker.complete(lease, Done::Explain(result)).await.unwrap_err();
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(expected), "{expected}: {error}");
    }
    let other = stage.worker.complete(lease, trained()).await.unwrap_err();
    assert!(other.message.contains("a task of kind explain does not end"), "{other}");
    assert_eq!(stage.heatmap(&stage.black, "").await.unwrap_err().code, ErrorCode::NotFound);
    stage.worker.complete(lease, Done::Explain(good)).await.unwrap();
    stage.fixture.job_in(&id, "succeeded").await;
}
