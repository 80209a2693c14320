//! One suite, run on every backend.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use ursa_storage::manifest::Manifest;
use ursa_storage::package::{
    Extras, GoldenExamples, GoldenInfo, Lineage, ModelManifest, ModelMetrics, ModelPackage, SCHEMA_VERSION,
};
use ursa_storage::testing::{BUCKET, S3Server};
use ursa_storage::{Digest, Key, ModelFile, Storage, StorageError};
use uuid::Uuid;

macro_rules! on_every_backend {
    ($($rule:ident),+ $(,)?) => {
        mod in_memory { $(#[tokio::test] async fn $rule() { super::$rule(ursa_storage::Storage::in_memory()).await; })+ }
        mod local_directory {
            $(#[tokio::test] async fn $rule() {
                let dir = tempfile::tempdir().unwrap();
                let store = ursa_storage::Storage::open(dir.path().to_str().unwrap()).unwrap();
                super::$rule(store).await;
            })+
        }
        mod s3 {
            $(#[tokio::test] async fn $rule() {
                let dir = tempfile::tempdir().unwrap();
                let server = super::S3Server::start(dir.path()).await.unwrap();
                let location = format!("s3://{}/some/prefix", super::BUCKET);
                super::$rule(ursa_storage::Storage::open_with(&location, server.settings()).unwrap()).await;
            })+
        }
    };
}

on_every_backend!(
    what_was_put_is_what_is_read,
    a_missing_object_is_named,
    a_range_past_the_end_is_an_error_another_try_cannot_cure,
    deleting_twice_is_no_error,
    what_an_attempt_uploaded_is_found_and_nothing_else,
    a_start_up_check_passes_and_leaves_nothing,
    a_package_survives_and_one_flipped_byte_is_found,
    a_package_of_an_attempt_is_found_by_its_claim_and_goes_whole,
    a_package_of_before_there_was_an_export_is_read,
);

fn key() -> Key {
    Key::RawShard { task: Uuid::new_v4(), attempt: 1 }
}

async fn what_was_put_is_what_is_read(store: Storage) {
    let key = key();
    let bytes = Bytes::from((0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let digest = store.put(&key, bytes.clone()).await.unwrap();
    assert_eq!(digest, Digest::of(&bytes));
    assert_eq!(store.put(&key, bytes.clone()).await.unwrap(), digest, "writing the same again is harmless");
    assert!(store.exists(&key).await.unwrap());
    assert_eq!(store.get_verified(&key, &digest).await.unwrap(), bytes);
    assert_eq!(store.get_range(&key, 1000..1010).await.unwrap(), bytes.slice(1000..1010));
    assert_eq!(store.get_range(&key, 1000..1000).await.unwrap(), Bytes::new());
    let error = store.get_verified(&key, &Digest::of(b"other")).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
}

async fn a_missing_object_is_named(store: Storage) {
    let key = key();
    assert!(!store.exists(&key).await.unwrap());
    for error in [store.get(&key).await.unwrap_err(), store.get_range(&key, 0..1).await.unwrap_err()] {
        assert!(matches!(&error, StorageError::NotFound { key: named } if *named == key.to_string()), "{error:?}");
        assert!(!error.is_retryable());
    }
}

async fn a_range_past_the_end_is_an_error_another_try_cannot_cure(store: Storage) {
    let key = key();
    store.put(&key, Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(store.get_range(&key, 5..10).await.unwrap(), "56789");
    for range in [5..20, 15..20, 11..11] {
        let error = store.get_range(&key, range.clone()).await.unwrap_err();
        let told = matches!(&error, StorageError::TooShort { length: 10, end, .. } if *end == range.end);
        assert!(told && !error.is_retryable(), "{error:?}");
    }
}

async fn deleting_twice_is_no_error(store: Storage) {
    let key = key();
    store.put(&key, Bytes::from_static(b"x")).await.unwrap();
    store.delete(&key).await.unwrap();
    store.delete(&key).await.unwrap();
    assert!(!store.exists(&key).await.unwrap());
}

async fn what_an_attempt_uploaded_is_found_and_nothing_else(store: Storage) {
    let (task, other) = (Uuid::new_v4(), Uuid::new_v4());
    assert!(store.uploads(task, 1).await.unwrap().is_empty());
    let of = |task, attempt| {
        [
            Key::RawShard { task, attempt },
            Key::NormalShard { task, attempt },
            Key::Checkpoint { task, attempt, epoch: 1, step: 8 },
            Key::Checkpoint { task, attempt, epoch: 2, step: 16 },
            Key::PackageClaim { task, attempt, digest: Digest::of(b"x") },
            Key::Evaluation { task, attempt },
            Key::Heatmap { task, attempt, image: other },
        ]
    };
    let logs = Key::Logs { task, attempt: 1, digest: Digest::of(b"x") };
    for key in [of(task, 1), of(task, 11), of(other, 1)].concat().into_iter().chain([logs]) {
        store.put(&key, Bytes::from_static(b"x")).await.unwrap();
    }
    let names = |keys: &[Key]| {
        let mut names: Vec<String> = keys.iter().map(Key::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&store.uploads(task, 1).await.unwrap()), names(&of(task, 1)));
}

async fn a_start_up_check_passes_and_leaves_nothing(store: Storage) {
    store.check().await.unwrap();
}

async fn a_package_of_an_attempt_is_found_by_its_claim_and_goes_whole(store: Storage) {
    let (package, task) = (package(), Uuid::new_v4());
    let digest = package.upload_by(&store, task, 3).await.unwrap();
    assert_eq!(store.uploads(task, 3).await.unwrap(), [Key::PackageClaim { task, attempt: 3, digest }]);
    ModelPackage::delete(&store, &digest).await.unwrap();
    for file in [ModelFile::Manifest, ModelFile::Weights, ModelFile::Golden, ModelFile::Onnx] {
        assert!(!store.exists(&Key::ModelFile { digest, file }).await.unwrap(), "{file:?}");
    }
}

async fn a_package_survives_and_one_flipped_byte_is_found(store: Storage) {
    let package = package();
    let digest = package.upload(&store).await.unwrap();
    let back = ModelPackage::download(&store, &digest).await.unwrap();
    assert_eq!((&back.manifest, &back.weights), (&package.manifest, &package.weights));
    let golden = GoldenExamples::from_safetensors(&back.golden).unwrap();
    assert_eq!(golden, golden_examples());
    assert_eq!(back.download_extra(&store, ModelFile::Onnx).await.unwrap(), package.extras.onnx);
    for file in [ModelFile::Manifest, ModelFile::Weights, ModelFile::Golden] {
        let key = Key::ModelFile { digest, file };
        let sound = store.get(&key).await.unwrap();
        let mut flipped = sound.to_vec();
        flipped[sound.len() / 2] ^= 1;
        store.put(&key, flipped.into()).await.unwrap();
        let error = ModelPackage::download(&store, &digest).await.unwrap_err();
        assert!(matches!(&error, StorageError::Corrupt { key: named, .. } if *named == key.to_string()), "{error:?}");
        store.put(&key, sound).await.unwrap();
    }
    ModelPackage::download(&store, &digest).await.unwrap();
    let onnx = Key::ModelFile { digest, file: ModelFile::Onnx };
    store.put(&onnx, Bytes::from_static(b"another model")).await.unwrap();
    let error = back.download_extra(&store, ModelFile::Onnx).await.unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt { key: named, .. } if *named == onnx.to_string()), "{error:?}");
}

async fn a_package_of_before_there_was_an_export_is_read(store: Storage) {
    let ModelPackage { manifest, weights, golden, .. } = package();
    let package = ModelPackage::seal(manifest, weights, golden, Extras::default()).unwrap();
    assert!(!String::from_utf8_lossy(&package.manifest_json).contains("onnx"));
    let back = ModelPackage::download(&store, &package.upload(&store).await.unwrap()).await.unwrap();
    assert_eq!(
        (&back.manifest, back.download_extra(&store, ModelFile::Onnx).await.unwrap()),
        (&package.manifest, None)
    );
}

fn golden_examples() -> GoldenExamples {
    GoldenExamples { images: vec![vec![1, 2, 3], vec![4]], logits: vec![vec![0.5, -1.0], vec![2.0, 3.5]] }
}

fn package() -> ModelPackage {
    let manifest = ModelManifest {
        schema_version: SCHEMA_VERSION,
        architecture: "resnet18".into(),
        head: "fastai-v1".into(),
        classes: vec!["black".into(), "teddy".into()],
        preprocessing: serde_json::json!({"size": 64}),
        metrics: ModelMetrics {
            error_rate: 0.25,
            wrong: 1,
            validated: 4,
            valid_loss: 0.7,
            confusion: vec![vec![2, 1], vec![0, 1]],
            epochs: 3,
            micro_batch: None,
        },
        lineage: Lineage {
            job_id: Uuid::from_u128(1).to_string(),
            task_id: Uuid::from_u128(2).to_string(),
            attempt: 1,
            snapshot_id: Uuid::from_u128(3).to_string(),
            snapshot_digest: Digest::of(b"snapshot").to_string(),
            dataset: "bears".into(),
            snapshot_number: 1,
            seed: 42,
            code_version: "test".into(),
            pretrained: None,
            conditions: Vec::new(),
            sources: None,
        },
        recipe: serde_json::json!({}),
        golden: GoldenInfo { count: 2, tolerance: 1e-3 },
        files: std::collections::BTreeMap::new(),
    };
    let golden = golden_examples().to_safetensors().unwrap();
    let extras = Extras { onnx: Some(Bytes::from(vec![8; 1000])), ..Extras::default() };
    ModelPackage::seal(manifest, Bytes::from(vec![7; 1000]), golden, extras).unwrap()
}

#[test]
fn a_package_of_another_schema_version_is_refused_with_both_numbers() {
    let json = String::from_utf8(package().manifest_json.to_vec()).unwrap();
    let newer = json.replace("\"schema_version\": 1", "\"schema_version\": 2");
    let error = ursa_storage::package::parse_manifest(newer.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("schema version 2") && error.contains("reads 1"), "{error}");
}

#[test]
fn a_package_whose_parts_disagree_is_not_sealed() {
    let refused = |change: fn(&mut ModelManifest)| {
        let mut package = package();
        change(&mut package.manifest);
        ModelPackage::seal(package.manifest, package.weights, package.golden, Extras::default())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(|manifest| manifest.golden.count = 3).contains("model.json says 3"));
    assert!(refused(|manifest| manifest.classes.push("panda".into())).contains("3 classes"));
    assert!(refused(|manifest| manifest.metrics.valid_loss = f64::NAN).contains("null"));
}

#[test]
fn golden_examples_that_would_not_read_back_are_refused() {
    for logits in [vec![vec![1.0, 2.0, 3.0], vec![4.0]], vec![vec![1.0, 2.0]], vec![]] {
        let images = vec![vec![1], vec![2]];
        assert!(GoldenExamples { images, logits }.to_safetensors().is_err());
    }
}

#[test]
fn a_location_that_is_none_names_those_that_work() {
    for location in ["ftp://x/y", "bucket", "s3://"] {
        let error = Storage::open(location).unwrap_err().to_string();
        assert!(error.contains("s3://bucket/prefix"), "{error}");
    }
}

#[tokio::test]
async fn an_unreachable_store_is_an_outage_within_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start(dir.path()).await.unwrap();
    let store = Storage::open_with(&format!("s3://{BUCKET}/x"), server.settings()).unwrap();
    store.check().await.unwrap();
    drop(server);
    expect_outage(&store).await;
}

#[tokio::test]
async fn a_store_that_never_answers_is_an_outage_within_bounded_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = [
        ("AWS_ACCESS_KEY_ID", "x".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "x".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://{}", silent.local_addr().unwrap())),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_TIMEOUT", "200ms".to_owned()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    expect_outage(&Storage::open_with(&format!("s3://{BUCKET}/x"), settings).unwrap()).await;
}

async fn expect_outage(store: &Storage) {
    let begin = Instant::now();
    let error = store.get(&key()).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }) && error.is_retryable(), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

/// Set in a process whose only task is to fill the folder it names.
const TINY_FOLDER: &str = "URSA_TEST_TINY_FOLDER";

#[tokio::test]
async fn a_full_disk_is_told_apart_and_harms_nothing_stored_before() {
    if let Some(folder) = std::env::var_os(TINY_FOLDER) {
        return fill(&Storage::open(folder.to_str().unwrap()).unwrap()).await;
    }
    let folder = tempfile::tempdir().unwrap();
    // A file system of 64 KiB where namespaces are allowed, else a limit of 64 KiB per file, which the kernel enforces.
    let tiny_disk = "exec unshare -rm sh -c 'mount -t tmpfs -o size=64k tiny \"$0\" && exec \"$@\"' \"$0\" \"$@\"";
    let tiny_files = "trap '' XFSZ; ulimit -f 128; exec \"$@\"";
    let run = |script: &str, command: &[&str]| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script]).arg(folder.path()).args(command).env(TINY_FOLDER, folder.path()).output().unwrap()
    };
    let script = if run(tiny_disk, &["true"]).status.success() { tiny_disk } else { tiny_files };
    let test = "a_full_disk_is_told_apart_and_harms_nothing_stored_before";
    let done = run(script, &[std::env::current_exe().unwrap().to_str().unwrap(), "--exact", test, "--nocapture"]);
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"), "the test did not run in the tiny folder");
}

async fn fill(store: &Storage) {
    let before = key();
    store.put(&before, Bytes::from_static(b"small")).await.unwrap();
    let large = key();
    let error = store.put(&large, vec![7; 200_000].into()).await.unwrap_err();
    assert!(matches!(error, StorageError::Full { .. }) && error.is_retryable(), "{error:?}");
    assert!(!store.exists(&large).await.unwrap(), "half an object must not show");
    assert_eq!(store.get(&before).await.unwrap(), "small");
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_manifest_with_one_flipped_byte_is_corrupt() {
    let manifest = Manifest {
        dataset: "bears".into(),
        number: 1,
        seed: 42,
        valid_percent: 20,
        classes: vec!["black".into()],
        rows: Vec::new(),
    };
    let store = Storage::in_memory();
    let bytes = manifest.to_parquet().unwrap();
    let digest = Digest::of(&bytes);
    store.put(&Key::Manifest { digest }, bytes.clone()).await.unwrap();
    assert_eq!(Manifest::download(&store, &digest).await.unwrap(), manifest);
    let mut flipped = bytes.to_vec();
    flipped[bytes.len() / 2] ^= 1;
    store.put(&Key::Manifest { digest }, flipped.into()).await.unwrap();
    let error = Manifest::download(&store, &digest).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
}
