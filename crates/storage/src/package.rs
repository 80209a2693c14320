//! Model packages: weights, what they mean, and the proof that they work.
//!
//! A package is `model.json`, the weights, the golden examples and, since there is an export, the same model as ONNX.
//! `model.json` names the SHA-256 of the others, and the package's digest is the SHA-256 of `model.json`: one flipped byte
//! anywhere is found. No file of a package can hold code.

use std::collections::BTreeMap;

use bytes::Bytes;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ursa_domain::conditions::Conditions;
use ursa_domain::sources::Sources;
use uuid::Uuid;

use crate::{Digest, Key, ModelFile, Storage, StorageError};

/// Version of `model.json` that this code writes and reads.
pub const SCHEMA_VERSION: u32 = 1;

const WHAT: &str = "model package";

/// `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// For instance `resnet18`.
    pub architecture: String,
    /// For instance `fastai-v1`.
    pub head: String,
    /// In the order of the outputs.
    pub classes: Vec<String>,
    /// How a picture becomes the network's input; `ursa-vision` reads it.
    pub preprocessing: Value,
    /// What was measured on the validation side.
    pub metrics: ModelMetrics,
    /// Where it came from.
    pub lineage: Lineage,
    /// How it was trained, every default filled in.
    pub recipe: Value,
    /// The examples it must reproduce.
    pub golden: GoldenInfo,
    /// The other files by name.
    pub files: BTreeMap<String, FileInfo>,
}

/// What was measured on the validation side after the last epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelMetrics {
    /// `wrong / validated`.
    pub error_rate: f64,
    /// Images classified wrongly.
    pub wrong: u64,
    /// Images measured on.
    pub validated: u64,
    /// Mean cross-entropy.
    pub valid_loss: f64,
    /// Rows actual, columns predicted.
    pub confusion: Vec<Vec<u64>>,
    /// Epochs trained.
    pub epochs: u32,
    /// Pictures computed at once at the end of training, where those were fewer than a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<u32>,
}

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// UUID of the train job.
    pub job_id: String,
    /// UUID of its task.
    pub task_id: String,
    /// The attempt that finished.
    pub attempt: u32,
    /// UUID of the snapshot.
    pub snapshot_id: String,
    /// SHA-256 of the snapshot's manifest, which names every source URL.
    pub snapshot_digest: String,
    /// The dataset.
    pub dataset: String,
    /// The snapshot's number.
    pub snapshot_number: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Version of the software that trained it, and of the code in it that decides what a training gives.
    pub code_version: String,
    /// SHA-256 of the pretrained weights; `None` when trained from scratch.
    pub pretrained: Option<String>,
    /// Under which it was learned. Several, one after the other, where the run was interrupted and went on under others; none
    /// in packages that are older than this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Conditions>,
    /// Where the pictures that it learned from came from, and under which licences; the manifest has the URL of each. `None`
    /// in packages that are older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Sources>,
}

/// The examples a model must reproduce before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GoldenInfo {
    /// How many.
    pub count: u32,
    /// Largest absolute difference of a logit that still counts as reproduced.
    pub tolerance: f32,
}

/// One file of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Of its bytes.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
}

/// A whole package in memory.
#[derive(Debug, Clone)]
pub struct ModelPackage {
    /// `model.json`, parsed.
    pub manifest: ModelManifest,
    /// `model.json`, verbatim.
    pub manifest_json: Bytes,
    /// `model.safetensors`.
    pub weights: Bytes,
    /// `golden.safetensors`.
    pub golden: Bytes,
    /// What only its maker has at hand: to serve, Ursa needs none of it, and leaves it in the store.
    pub extras: Extras,
}

/// The files of a package that serving does not need.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// `model.onnx`: the same model for runtimes that are not ours.
    pub onnx: Option<Bytes>,
    /// `predictions.parquet`: what it says of every image of its snapshot; see [`crate::predictions`].
    pub predictions: Option<Bytes>,
}

impl Extras {
    fn files(&self) -> impl Iterator<Item = (ModelFile, &Bytes)> {
        let files = [(ModelFile::Onnx, &self.onnx), (ModelFile::Predictions, &self.predictions)];
        files.into_iter().filter_map(|(file, bytes)| Some((file, bytes.as_ref()?)))
    }
}

impl ModelPackage {
    /// Completes `manifest` with the files' digests.
    pub fn seal(
        mut manifest: ModelManifest,
        weights: Bytes,
        golden: Bytes,
        extras: Extras,
    ) -> Result<Self, StorageError> {
        let info = |bytes: &Bytes| FileInfo { sha256: Digest::of(bytes), bytes: bytes.len() as u64 };
        let files = [(ModelFile::Weights, &weights), (ModelFile::Golden, &golden)].into_iter().chain(extras.files());
        manifest.files = files.map(|(file, bytes)| (file.as_str().to_owned(), info(bytes))).collect();
        let json = serde_json::to_vec_pretty(&manifest).map_err(|error| StorageError::malformed(WHAT, error))?;
        // JSON has no NaN: it would be written as null, and nobody could read the package again.
        parse_manifest(&json)?;
        check(&manifest, &golden)?;
        Ok(Self { manifest, manifest_json: json.into(), weights, golden, extras })
    }

    /// The package's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest_json)
    }

    /// Stores the package; `model.json` comes last, so that whoever finds it finds the rest.
    pub async fn upload(&self, storage: &Storage) -> Result<Digest, StorageError> {
        let digest = self.digest();
        let key = |file| Key::ModelFile { digest, file };
        storage.put(&key(ModelFile::Weights), self.weights.clone()).await?;
        storage.put(&key(ModelFile::Golden), self.golden.clone()).await?;
        for (file, bytes) in self.extras.files() {
            storage.put(&key(file), bytes.clone()).await?;
        }
        storage.put(&key(ModelFile::Manifest), self.manifest_json.clone()).await
    }

    /// As [`Self::upload`], by an attempt: what it uploads is found by its claim, even when it dies half-way.
    pub async fn upload_by(&self, storage: &Storage, task: Uuid, attempt: u32) -> Result<Digest, StorageError> {
        let claim = Key::PackageClaim { task, attempt, digest: self.digest() };
        storage.put(&claim, Bytes::new()).await?;
        self.upload(storage).await
    }

    /// Removes a package, or what there is of it; `model.json` goes first, so that whoever finds it finds the rest.
    pub async fn delete(storage: &Storage, digest: &Digest) -> Result<(), StorageError> {
        for file in ModelFile::ALL {
            storage.delete(&Key::ModelFile { digest: *digest, file }).await?;
        }
        Ok(())
    }

    /// Reads what serving needs of a package and checks every byte of it.
    pub async fn download(storage: &Storage, digest: &Digest) -> Result<Self, StorageError> {
        let key = |file| Key::ModelFile { digest: *digest, file };
        let manifest_json = storage.get_verified(&key(ModelFile::Manifest), digest).await?;
        let manifest = parse_manifest(&manifest_json)?;
        let mut files = [Bytes::new(), Bytes::new()];
        for (bytes, file) in files.iter_mut().zip([ModelFile::Weights, ModelFile::Golden]) {
            let info = manifest.files.get(file.as_str());
            let info = info
                .ok_or_else(|| StorageError::malformed(WHAT, format!("model.json does not name {}", file.as_str())))?;
            *bytes = storage.get_verified(&key(file), &info.sha256).await?;
        }
        let [weights, golden] = files;
        check(&manifest, &golden)?;
        Ok(Self { manifest, manifest_json, weights, golden, extras: Extras::default() })
    }

    /// Reads a file that serving does not need and checks every byte of it; `None` where the package was made without it.
    pub async fn download_extra(&self, storage: &Storage, file: ModelFile) -> Result<Option<Bytes>, StorageError> {
        let Some(info) = self.manifest.files.get(file.as_str()) else { return Ok(None) };
        let key = Key::ModelFile { digest: self.digest(), file };
        storage.get_verified(&key, &info.sha256).await.map(Some)
    }
}

/// Whether the parts speak of the same model: as many golden examples as promised, one logit per class.
fn check(manifest: &ModelManifest, golden: &[u8]) -> Result<(), StorageError> {
    let examples = GoldenExamples::from_safetensors(golden)?;
    let (count, promised) = (examples.images.len(), manifest.golden.count);
    if count != promised as usize {
        return Err(StorageError::malformed(
            WHAT,
            format!("it has {count} golden examples, model.json says {promised}"),
        ));
    }
    let (logits, classes) = (examples.logits.first().map_or(0, Vec::len), manifest.classes.len());
    if logits != classes {
        return Err(StorageError::malformed(WHAT, format!("{logits} golden logits per picture for {classes} classes")));
    }
    Ok(())
}

/// Reads `model.json`, telling another schema version apart from nonsense.
pub fn parse_manifest(json: &[u8]) -> Result<ModelManifest, StorageError> {
    let value: Value = serde_json::from_slice(json).map_err(|error| StorageError::malformed(WHAT, error))?;
    let version = value["schema_version"].as_u64();
    if version != Some(u64::from(SCHEMA_VERSION)) {
        let found = version.map_or("none".to_owned(), |version| version.to_string());
        let reason = format!("model.json has schema version {found}, this software reads {SCHEMA_VERSION}");
        return Err(StorageError::malformed(WHAT, reason));
    }
    serde_json::from_value(value).map_err(|error| StorageError::malformed(WHAT, error))
}

/// Pictures and the logits the model gave for them when it was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldenExamples {
    /// Picture files.
    pub images: Vec<Vec<u8>>,
    /// One row per picture, one column per class.
    pub logits: Vec<Vec<f32>>,
}

impl GoldenExamples {
    /// As safetensors: `image.0000`… (u8, the file's bytes) and `logits` (f32, pictures × classes).
    pub fn to_safetensors(&self) -> Result<Bytes, StorageError> {
        let failed = |error: safetensors::SafeTensorError| StorageError::malformed(WHAT, error);
        let flat: Vec<u8> = self.logits.iter().flatten().flat_map(|logit| logit.to_le_bytes()).collect();
        let classes = self.logits.first().map_or(0, Vec::len);
        if self.images.len() != self.logits.len() || self.logits.iter().any(|row| row.len() != classes) {
            return Err(StorageError::malformed(
                WHAT,
                "golden examples need one row of logits per picture, all equally long",
            ));
        }
        let mut tensors = Vec::new();
        for (index, image) in self.images.iter().enumerate() {
            let view = TensorView::new(Dtype::U8, vec![image.len()], image).map_err(failed)?;
            tensors.push((format!("image.{index:04}"), view));
        }
        let logits = TensorView::new(Dtype::F32, vec![self.logits.len(), classes], &flat).map_err(failed)?;
        tensors.push(("logits".to_owned(), logits));
        safetensors::serialize(tensors, None).map(Bytes::from).map_err(failed)
    }

    /// The reverse of [`GoldenExamples::to_safetensors`].
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, StorageError> {
        let failed = |error: safetensors::SafeTensorError| StorageError::malformed(WHAT, error);
        let tensors = SafeTensors::deserialize(bytes).map_err(failed)?;
        let logits = tensors.tensor("logits").map_err(failed)?;
        let [count, classes] = logits.shape()[..] else {
            return Err(StorageError::malformed(WHAT, "golden logits are not a matrix"));
        };
        if logits.dtype() != Dtype::F32 || classes == 0 {
            return Err(StorageError::malformed(WHAT, "golden logits are not numbers per class"));
        }
        let values: Vec<f32> =
            logits.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if tensors.len() != count + 1 {
            return Err(StorageError::malformed(
                WHAT,
                format!("{count} rows of golden logits in {} tensors", tensors.len()),
            ));
        }
        let image = |index| {
            let name = format!("image.{index:04}");
            let tensor = tensors.tensor(&name).map_err(failed)?;
            if tensor.dtype() != Dtype::U8 || tensor.shape().len() != 1 {
                return Err(StorageError::malformed(WHAT, format!("golden {name} is not the bytes of a file")));
            }
            Ok(tensor.data().to_vec())
        };
        let images = (0..count).map(image).collect::<Result<_, _>>()?;
        Ok(Self { images, logits: values.chunks_exact(classes).map(<[f32]>::to_vec).collect() })
    }
}
