//! Real model packages, small: a ResNet-18 that knows nothing, for pictures of 32 pixels.

use std::collections::BTreeMap;
use std::io::Cursor;

use bytes::Bytes;
use image::{ImageFormat, Rgb, RgbImage};
use ursa_domain::recipe::Architecture;
use ursa_learner::{Classifier, Device, HEAD, Network};
use ursa_storage::package::{
    Extras, GoldenExamples, GoldenInfo, Lineage, ModelManifest, ModelMetrics, ModelPackage, SCHEMA_VERSION,
};
use ursa_vision::{Limits, Preprocessing};

pub(crate) const CLASSES: [&str; 3] = ["black", "grizzly", "teddy"];
pub(crate) const SIZE: u32 = 32;

/// A picture file; different seeds give different pictures.
pub(crate) fn picture(seed: u8) -> Vec<u8> {
    let pixel = |x: u32, y: u32| {
        let seed = u32::from(seed) + 1;
        Rgb([(x * seed % 256) as u8, (y * (seed + 3) % 256) as u8, ((x + y) * 5 % 256) as u8])
    };
    let mut file = Cursor::new(Vec::new());
    RgbImage::from_fn(60, 44, pixel).write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

/// A package whose golden examples are true.
pub(crate) fn package(seed: u64) -> ModelPackage {
    // Tests run side by side; threads that wait for each other's cores would take most of the time.
    ursa_learner::set_threads(1);
    let weights = Network::new(Architecture::ResNet18, CLASSES.len(), seed, Device::Cpu).to_safetensors().unwrap();
    let preprocessing = Preprocessing::imagenet(SIZE);
    let classifier =
        Classifier::load(Architecture::ResNet18, CLASSES.len(), preprocessing, &weights, Device::Cpu).unwrap();
    let images: Vec<Vec<u8>> = (0..3).map(picture).collect();
    let prepared: Vec<Vec<u8>> =
        images.iter().map(|image| preprocessing.prepare(image, &Limits::default()).unwrap()).collect();
    let golden = GoldenExamples { logits: classifier.logits(&prepared).unwrap(), images };
    ModelPackage::seal(
        manifest(preprocessing, seed),
        weights.into(),
        golden.to_safetensors().unwrap(),
        Extras::default(),
    )
    .unwrap()
}

/// The package with a changed manifest or golden examples, sealed again as a forger would.
pub(crate) fn reseal(
    package: &ModelPackage,
    change: impl FnOnce(&mut ModelManifest, &mut GoldenExamples),
) -> ModelPackage {
    let mut manifest = package.manifest.clone();
    let mut golden = GoldenExamples::from_safetensors(&package.golden).unwrap();
    change(&mut manifest, &mut golden);
    ModelPackage::seal(manifest, package.weights.clone(), golden.to_safetensors().unwrap(), Extras::default()).unwrap()
}

/// `bytes` with one bit flipped.
pub(crate) fn tampered(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes.into()
}

fn manifest(preprocessing: Preprocessing, seed: u64) -> ModelManifest {
    ModelManifest {
        schema_version: SCHEMA_VERSION,
        architecture: Architecture::ResNet18.to_string(),
        head: HEAD.to_owned(),
        classes: CLASSES.map(ToOwned::to_owned).into(),
        preprocessing: serde_json::to_value(preprocessing).unwrap(),
        metrics: ModelMetrics {
            error_rate: 0.5,
            wrong: 1,
            validated: 2,
            valid_loss: 1.0,
            confusion: vec![vec![1, 1, 0], vec![0; 3], vec![0; 3]],
            epochs: 0,
            micro_batch: None,
        },
        lineage: Lineage {
            job_id: "job".into(),
            task_id: "task".into(),
            attempt: 1,
            snapshot_id: "snapshot".into(),
            snapshot_digest: "digest".into(),
            dataset: "bears".into(),
            snapshot_number: 1,
            seed,
            code_version: "test".into(),
            pretrained: None,
            conditions: Vec::new(),
            sources: None,
        },
        recipe: serde_json::json!({}),
        golden: GoldenInfo { count: 3, tolerance: 1e-3 },
        files: BTreeMap::new(),
    }
}
