//! What a model gets wrong, from the predictions in its package.

use bytes::Bytes;
use ursa_cluster::Worker;
use ursa_domain::interpret::Prediction;
use ursa_domain::split::Side;
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::predictions::{PredictionRow, to_parquet};
use ursa_storage::{Digest, Key, ModelFile};
use uuid::Uuid;

use crate::fixture::{Fixture, after, scrape, snapshot, train, trained, verify};

/// A prediction of a picture of the first class, with this probability of the second.
fn row(id: Uuid, side: Side, second: f32) -> PredictionRow {
    let (predicted, loss) = (u32::from(second > 0.5), -f64::from(1.0 - second).ln());
    let prediction = Prediction { id, actual: 0, predicted, probabilities: vec![1.0 - second, second], loss };
    PredictionRow { side, prediction, embedding: vec![1.0] }
}

/// A fixture whose worker has a train task.
async fn training() -> (Fixture, Worker, v1::Lease) {
    let fixture = Fixture::start().await;
    let jobs =
        [scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), after(train(), &["snapshot"])];
    fixture.submit(jobs.to_vec()).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    (fixture, worker, lease)
}

/// Ends the train task with a model whose package holds these predictions; its digest.
async fn with_predictions(fixture: &Fixture, worker: &mut Worker, lease: &v1::Lease, predictions: Bytes) -> String {
    let file = serde_json::json!({"sha256": Digest::of(&predictions).to_string(), "bytes": predictions.len()});
    let model_json = serde_json::json!({
        "architecture": "resnet18", "classes": ["black", "teddy"], "metrics": {"error_rate": 0.5},
        "files": {"predictions.parquet": file},
    })
    .to_string();
    let digest = Digest::of(model_json.as_bytes());
    fixture.storage().put(&Key::ModelFile { digest, file: ModelFile::Predictions }, predictions).await.unwrap();
    let result = v1::TrainResult { model_digest: digest.to_string(), model_json, ..v1::TrainResult::default() };
    worker.complete(lease, v1::complete_task_request::Result::Train(result)).await.unwrap();
    digest.to_string()
}

async fn interpret(fixture: &Fixture, digest: &str, side: &str, limit: u32) -> Result<v1::Interpretation, ApiError> {
    let request =
        v1::InterpretModelRequest { digest: digest.into(), side: side.into(), limit, snapshot: String::new() };
    Ok(fixture.client().models().interpret_model(request).await?.into_inner())
}

#[tokio::test]
async fn a_model_is_interpreted_by_image_side_by_side() {
    let (fixture, mut worker, lease) = training().await;
    let request = v1::ListImagesRequest { dataset: "bears".into(), class: "black".into(), ..Default::default() };
    let images = fixture.client().datasets().list_images(request).await.unwrap().into_inner().images;
    let known: Uuid = images[0].id.parse().unwrap();
    let gone = Uuid::from_u128(7);
    let rows = [
        row(known, Side::Valid, 0.99),
        row(gone, Side::Valid, 0.45),
        row(Uuid::from_u128(8), Side::Valid, 0.05),
        row(Uuid::from_u128(9), Side::Train, 0.01),
    ];
    let classes = ["black".to_owned(), "teddy".to_owned()];
    let digest = with_predictions(&fixture, &mut worker, &lease, to_parquet(&classes, &rows).unwrap()).await;

    let found = interpret(&fixture, &digest[..8], "", 0).await.unwrap();
    assert_eq!((&found.digest, found.side.as_str(), found.images), (&digest, "valid", 3));
    assert_eq!((found.dataset.as_str(), found.snapshot_number, found.snapshot_digest.len()), ("bears", 1, 64));
    assert_eq!((found.classes, found.confusion[0].counts.clone()), (classes.to_vec(), vec![2, 1]));
    let errors = found.class_errors[0];
    assert!((errors.wrong, errors.of) == (1, 3) && errors.low > 0.05 && errors.high < 0.8, "{errors:?}");
    assert_eq!(found.most_confused, [v1::ConfusedPair { actual: 0, predicted: 1, count: 1 }]);
    assert_eq!(found.top_losses.len(), 3);
    assert_eq!((&found.top_losses[0].image_id, &found.top_losses[0].url), (&images[0].id, &images[0].url));
    let unsure = &found.most_unsure[0];
    assert!(unsure.image_id == gone.to_string() && unsure.url.is_empty() && unsure.predicted == 0, "{unsure:?}");
    let calibration = found.calibration.unwrap();
    // Those sure by 0.99 (wrong) and by 0.95 (right) are in one bin, the one sure by 0.55 is right.
    let expected = (2.0 * (0.97 - 0.5) + (1.0 - 0.55)) / 3.0;
    assert!((calibration.error - expected).abs() < 1e-5, "{calibration:?}");
    assert_eq!(calibration.bins.iter().map(|bin| bin.count).sum::<u64>(), 3);

    let learned = interpret(&fixture, &digest, "train", 1).await.unwrap();
    assert_eq!((learned.images, learned.top_losses.len(), learned.errors.unwrap().wrong), (1, 1, 0));
    let both = interpret(&fixture, &digest, "all", 0).await.unwrap();
    assert_eq!((both.side.as_str(), both.images, both.errors.unwrap().wrong), ("all", 4, 1));
    let refused = interpret(&fixture, &digest, "test", 0).await.unwrap_err();
    assert!(
        refused.code == ErrorCode::InvalidArgument && refused.message.contains("use valid, train or all"),
        "{refused}"
    );
    let refused = interpret(&fixture, &digest, "", 1000).await.unwrap_err();
    assert!(refused.code == ErrorCode::InvalidArgument && refused.message.contains("maximum is 200"), "{refused}");
}

#[tokio::test]
async fn a_package_without_predictions_and_one_that_was_tampered_with_are_refused() {
    let (fixture, mut worker, lease) = training().await;
    worker.complete(&lease, trained()).await.unwrap();
    let models = fixture.client().models().list_models(v1::ListModelsRequest::default()).await.unwrap().into_inner();
    let refused = interpret(&fixture, &models.models[0].digest, "", 0).await.unwrap_err();
    assert!(refused.code == ErrorCode::IllegalState && refused.message.contains("train it again"), "{refused}");

    let (fixture, mut worker, lease) = training().await;
    let rows = to_parquet(&["black".to_owned(), "teddy".to_owned()], &[row(Uuid::nil(), Side::Valid, 0.5)]).unwrap();
    let digest = with_predictions(&fixture, &mut worker, &lease, rows).await;
    let key = Key::ModelFile { digest: digest.parse().unwrap(), file: ModelFile::Predictions };
    fixture.storage().put(&key, Bytes::from_static(b"others")).await.unwrap();
    let refused = interpret(&fixture, &digest, "", 0).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DataLoss, "{refused}");
    let unknown = interpret(&fixture, "0123456789", "", 0).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NotFound, "{unknown}");
}
