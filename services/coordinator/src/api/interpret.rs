//! `ModelService.InterpretModel`: what a model gets wrong, from the predictions that its trainer left in its package, or those
//! that an evaluate job left beside it.

use serde_json::Value;
use tokio::sync::Semaphore;
use tonic::Status;
use ursa_domain::interpret::Interpretation;
use ursa_domain::run::SnapshotInfo;
use ursa_domain::split::Side;
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::package::FileInfo;
use ursa_storage::predictions::{self, Predictions};
use ursa_storage::{Digest, Key, ModelFile, StorageError};
use uuid::Uuid;

use super::{id, internal, refuse, storage_refused};
use crate::context::Context;

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 200;
/// A file is read whole, and nothing of it is kept. Of a network with 512 features this is about 120 000 images.
const MAX_PREDICTIONS_BYTES: u64 = 256 << 20;
/// As many are computed at once.
const AT_ONCE: usize = 2;

/// What both sides of a split are called.
const BOTH_SIDES: &str = "all";

/// What is interpreted: where a model's predictions are, and of which snapshot.
struct Subject {
    key: Key,
    file: FileInfo,
    snapshot: SnapshotInfo,
}

/// Who may compute now; whoever comes later waits.
#[derive(Debug)]
pub(super) struct Interpreter {
    turns: Semaphore,
}

impl Interpreter {
    pub(super) fn new() -> Self {
        Self { turns: Semaphore::new(AT_ONCE) }
    }

    pub(super) async fn interpret(
        &self,
        context: &Context,
        request: v1::InterpretModelRequest,
    ) -> Result<v1::Interpretation, Status> {
        let is_own = request.snapshot.is_empty();
        let (side, limit) = (side(&request.side, is_own)?, limit(request.limit)?);
        let digest = context.store.resolve_model(&request.digest).await.map_err(refuse)?;
        let model = context.store.model(&digest).await.map_err(refuse)?;
        let turn = self.turns.acquire().await.map_err(internal)?;
        // Not before: an evaluation may be replaced while others have their turn.
        let subject =
            if is_own { own(context, &model).await } else { evaluated(context, &model, &request.snapshot).await };
        let Subject { key, file, snapshot } = subject?;
        let bytes = context.storage.get_verified(&key, &file.sha256).await.map_err(|error| storage_refused(&error))?;
        let compute = move || {
            predictions::without_embeddings(bytes, side).map(|Predictions { classes, predictions }| {
                (Interpretation::of(&predictions, classes.len(), limit), classes)
            })
        };
        let computed = tokio::task::spawn_blocking(compute).await.map_err(internal)?;
        drop(turn);
        let (found, classes) = computed.map_err(|error| storage_refused(&error))?;
        let mut told = v1::Interpretation {
            digest,
            side: side.map_or(BOTH_SIDES, Side::as_str).to_owned(),
            classes,
            snapshot_digest: snapshot.digest,
            dataset: snapshot.dataset,
            snapshot_number: snapshot.number,
            ..found.into()
        };
        add_urls(context, &mut told).await?;
        Ok(told)
    }
}

/// `None` is both. Of its own snapshot a model is judged by what it has not learned from, unless more is wanted.
fn side(word: &str, is_own: bool) -> Result<Option<Side>, Status> {
    match word {
        "" => Ok(is_own.then_some(Side::Valid)),
        BOTH_SIDES => Ok(None),
        word => match word.parse() {
            Ok(side) => Ok(Some(side)),
            Err(_) => Err(ApiError::invalid(format!("side is {word:?}; use valid, train or {BOTH_SIDES}")).into()),
        },
    }
}

fn limit(wanted: u32) -> Result<usize, Status> {
    match wanted {
        0 => Ok(DEFAULT_LIMIT as usize),
        1..=MAX_LIMIT => Ok(wanted as usize),
        _ => Err(ApiError::invalid(format!("limit is {wanted}; the maximum is {MAX_LIMIT}")).into()),
    }
}

/// What a model says of its own snapshot, by its package.
async fn own(context: &Context, model: &v1::Model) -> Result<Subject, Status> {
    let (key, file) = predictions_of(model)?;
    let snapshot = context.store.snapshot(id("snapshot_id", &model.snapshot_id)?).await.map_err(refuse)?;
    Ok(Subject { key, file, snapshot })
}

/// What a model says of the snapshot whose digest begins so, by the latest evaluation.
async fn evaluated(context: &Context, model: &v1::Model, prefix: &str) -> Result<Subject, Status> {
    let snapshot = context.store.resolve_snapshot(prefix).await.map_err(refuse)?;
    let found = context.store.evaluated(&model.digest, &snapshot.digest).await.map_err(refuse)?;
    let found = found.ok_or_else(|| not_evaluated(model, &snapshot))?;
    let key = found.key.parse().map_err(|error: StorageError| storage_refused(&error))?;
    let file = FileInfo { sha256: found.sha256.parse().map_err(internal)?, bytes: found.bytes };
    check_size(&model.digest, &key, file)?;
    Ok(Subject { key, file, snapshot })
}

fn not_evaluated(model: &v1::Model, snapshot: &SnapshotInfo) -> ApiError {
    let digest = model.digest.get(..12).unwrap_or(&model.digest);
    let name = format!("{}@{}", snapshot.dataset, snapshot.number);
    let own = if snapshot.id.to_string() == model.snapshot_id {
        "; what it says of this one, which is its own, is in its package, too: leave the snapshot out"
    } else {
        ""
    };
    let message = format!(
        "model {digest} was not evaluated on snapshot {name} yet: submit a job {{kind: evaluate, snapshot: {name}, model: \
         {digest}}}{own}"
    );
    ApiError::new(ErrorCode::NotFound, message)
}

fn check_size(model: &str, key: &Key, file: FileInfo) -> Result<(), Status> {
    if file.bytes <= MAX_PREDICTIONS_BYTES {
        return Ok(());
    }
    let message = format!(
        "the predictions of model {model} take {} MiB, at most {} MiB are read for a request; read {key} from the object store \
         with a tool of your own: it is Parquet",
        file.bytes >> 20,
        MAX_PREDICTIONS_BYTES >> 20
    );
    Err(ApiError::new(ErrorCode::TooLarge, message).into())
}

/// Where the predictions in a model's package are, if they are there and not too large.
fn predictions_of(model: &v1::Model) -> Result<(Key, FileInfo), Status> {
    let name = ModelFile::Predictions.as_str();
    let broken = |error: &dyn std::fmt::Display| {
        Status::from(ApiError::new(ErrorCode::DataLoss, format!("model.json of {}: {error}", model.digest)))
    };
    let manifest: Value = serde_json::from_str(&model.model_json).map_err(|error| broken(&error))?;
    let Some(file) = manifest["files"].get(name) else {
        let message = format!(
            "the package of model {} has no {name}: it was made before predictions were kept; train it again to see what it \
             gets wrong",
            model.digest
        );
        return Err(ApiError::new(ErrorCode::IllegalState, message).into());
    };
    let file: FileInfo = serde_json::from_value(file.clone()).map_err(|error| broken(&error))?;
    let digest = model.digest.parse::<Digest>().map_err(|error| broken(&error))?;
    let key = Key::ModelFile { digest, file: ModelFile::Predictions };
    check_size(&model.digest, &key, file)?;
    Ok((key, file))
}

/// Says of every image where it came from.
async fn add_urls(context: &Context, told: &mut v1::Interpretation) -> Result<(), Status> {
    let images = || told.top_losses.iter().chain(&told.most_unsure);
    let ids: Vec<Uuid> = images().filter_map(|image| Uuid::try_parse(&image.image_id).ok()).collect();
    let urls = context.store.source_urls(&ids).await.map_err(refuse)?;
    for image in told.top_losses.iter_mut().chain(&mut told.most_unsure) {
        let id = Uuid::try_parse(&image.image_id).unwrap_or_default();
        image.url = urls.get(&id).cloned().unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(files: &Value) -> v1::Model {
        let model_json = serde_json::json!({"files": files}).to_string();
        v1::Model { digest: Digest::of(b"model").to_string(), model_json, ..v1::Model::default() }
    }

    fn file(bytes: u64) -> Value {
        serde_json::json!({"predictions.parquet": {"sha256": Digest::of(b"x").to_string(), "bytes": bytes}})
    }

    fn refused(model: &v1::Model) -> ApiError {
        predictions_of(model).unwrap_err().into()
    }

    #[test]
    fn predictions_are_where_the_package_says() {
        let (key, info) = predictions_of(&model(&file(5))).unwrap();
        assert!(key.to_string().ends_with("/predictions.parquet") && info.sha256 == Digest::of(b"x"));
    }

    #[test]
    fn a_package_without_predictions_and_one_with_too_many_are_refused_saying_what_to_do() {
        let older = refused(&model(&serde_json::json!({})));
        assert!(older.code == ErrorCode::IllegalState && older.message.contains("train it again"), "{older}");
        let large = refused(&model(&file(1 << 40)));
        assert!(large.code == ErrorCode::TooLarge && large.message.contains("models/"), "{large}");
        let broken = v1::Model { model_json: "{".into(), ..model(&file(5)) };
        assert_eq!(refused(&broken).code, ErrorCode::DataLoss);
    }

    #[test]
    fn who_asks_for_a_snapshot_that_a_model_was_not_evaluated_on_is_told_the_job() {
        let own = Uuid::from_u128(7);
        let model =
            v1::Model { digest: "9f2c4e1ab83d5f60".into(), snapshot_id: own.to_string(), ..v1::Model::default() };
        let snapshot = |id| SnapshotInfo { id, dataset: "bears".into(), number: 4, digest: "00".repeat(32) };
        let other = not_evaluated(&model, &snapshot(Uuid::from_u128(8)));
        assert_eq!(other.code, ErrorCode::NotFound);
        assert!(other.message.ends_with("a job {kind: evaluate, snapshot: bears@4, model: 9f2c4e1ab83d}"), "{other}");
        assert!(not_evaluated(&model, &snapshot(own)).message.ends_with("leave the snapshot out"));
    }

    #[test]
    fn sides_and_limits_have_defaults_and_bounds() {
        assert_eq!([side("", true).unwrap(), side("", false).unwrap()], [Some(Side::Valid), None]);
        assert_eq!([side("train", true).unwrap(), side("all", true).unwrap()], [Some(Side::Train), None]);
        assert_eq!((limit(0).unwrap(), limit(200).unwrap()), (20, 200));
        assert!(side("test", false).is_err() && limit(201).is_err());
    }
}
