//! Keys: every object's place in the store, made from ids, attempts and digests alone.
//!
//! Attempts are part of the keys, so a zombie's upload can never replace what counts, and what an attempt uploaded can be
//! found once it has ended: every object of an attempt lies in one of its folders ([`Key::attempt`], `Key::folders`). The
//! files of a model package, which have its digest for their key, are found by the claim that lies there.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::{Digest, StorageError};

/// The place of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// Pictures as fetched by one attempt of a scrape task.
    RawShard {
        /// The task.
        task: Uuid,
        /// The attempt.
        attempt: u32,
    },
    /// Pictures as normalised by one attempt of a verify task.
    NormalShard {
        /// The task.
        task: Uuid,
        /// The attempt.
        attempt: u32,
    },
    /// The manifest of a snapshot.
    Manifest {
        /// Of its bytes.
        digest: Digest,
    },
    /// The state of a training run after a batch.
    Checkpoint {
        /// The task.
        task: Uuid,
        /// The attempt.
        attempt: u32,
        /// Epochs completed, measuring included.
        epoch: u32,
        /// Batches done in the whole run.
        step: u64,
    },
    /// A file of a model package.
    ModelFile {
        /// The package's digest.
        digest: Digest,
        /// Which file.
        file: ModelFile,
    },
    /// Says that one attempt uploads a model package. Empty, and written before the package's files.
    PackageClaim {
        /// The task.
        task: Uuid,
        /// The attempt.
        attempt: u32,
        /// The package's digest.
        digest: Digest,
    },
    /// What a model says of every picture of a snapshot, by one attempt of an evaluate task.
    Evaluation {
        /// The task.
        task: Uuid,
        /// The attempt.
        attempt: u32,
    },
    /// What in an image speaks for a class, by one attempt of an explain task.
    Heatmap {
        /// The task.
        task: Uuid,
        /// The attempt.
        attempt: u32,
        /// The image.
        image: Uuid,
    },
    /// Lines that one attempt logged.
    Logs {
        /// The task.
        task: Uuid,
        /// The attempt.
        attempt: u32,
        /// Of its bytes.
        digest: Digest,
    },
    /// Written, read and deleted to see whether the store works.
    Probe {
        /// Drawn for the occasion.
        id: Uuid,
    },
}

/// The files of a model package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelFile {
    /// model.json.
    Manifest,
    /// model.safetensors.
    Weights,
    /// golden.safetensors.
    Golden,
    /// model.onnx, in packages that have one.
    Onnx,
    /// predictions.parquet, in packages that have one.
    Predictions,
}

impl ModelFile {
    /// Every one, `model.json` first.
    pub(crate) const ALL: [Self; 5] = [Self::Manifest, Self::Weights, Self::Golden, Self::Onnx, Self::Predictions];

    /// Its name in the package.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "model.json",
            Self::Weights => "model.safetensors",
            Self::Golden => "golden.safetensors",
            Self::Onnx => "model.onnx",
            Self::Predictions => "predictions.parquet",
        }
    }
}

impl Key {
    /// The task and the attempt that may upload it; `None` of what has its digest for a key, or is the coordinator's affair.
    pub fn attempt(&self) -> Option<(Uuid, u32)> {
        match *self {
            Self::RawShard { task, attempt }
            | Self::NormalShard { task, attempt }
            | Self::Checkpoint { task, attempt, .. }
            | Self::PackageClaim { task, attempt, .. }
            | Self::Evaluation { task, attempt }
            | Self::Heatmap { task, attempt, .. } => Some((task, attempt)),
            Self::Manifest { .. } | Self::ModelFile { .. } | Self::Logs { .. } | Self::Probe { .. } => None,
        }
    }

    /// Where everything lies that an attempt may upload, beside the objects of other attempts at the same task.
    pub(crate) fn folders(task: Uuid, attempt: u32) -> [String; 6] {
        [
            format!("shards/raw/{task}"),
            format!("shards/normal/{task}"),
            format!("checkpoints/{task}/{attempt}"),
            format!("packages/{task}/{attempt}"),
            format!("evaluations/{task}"),
            format!("heatmaps/{task}/{attempt}"),
        ]
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RawShard { task, attempt } => write!(f, "shards/raw/{task}/{attempt}.tar"),
            Self::NormalShard { task, attempt } => write!(f, "shards/normal/{task}/{attempt}.tar"),
            Self::Manifest { digest } => write!(f, "snapshots/{digest}.parquet"),
            Self::Checkpoint { task, attempt, epoch, step } => {
                write!(f, "checkpoints/{task}/{attempt}/{epoch}-{step}.safetensors")
            }
            Self::ModelFile { digest, file } => write!(f, "models/{digest}/{}", file.as_str()),
            Self::PackageClaim { task, attempt, digest } => write!(f, "packages/{task}/{attempt}/{digest}"),
            Self::Evaluation { task, attempt } => write!(f, "evaluations/{task}/{attempt}.parquet"),
            Self::Heatmap { task, attempt, image } => write!(f, "heatmaps/{task}/{attempt}/{image}.png"),
            Self::Logs { task, attempt, digest } => write!(f, "logs/{task}/{attempt}/{digest}.ndjson.zst"),
            Self::Probe { id } => write!(f, "probes/{id}"),
        }
    }
}

impl FromStr for Key {
    type Err = StorageError;

    /// Reads a key back, refusing everything [`Key`] would not write, letter by letter.
    fn from_str(text: &str) -> Result<Self, StorageError> {
        parse(text)
            .filter(|key| key.to_string() == text)
            .ok_or_else(|| StorageError::InvalidKey { key: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Key> {
    let parts: Vec<&str> = text.split('/').collect();
    Some(match parts[..] {
        ["shards", "raw", task, file] => Key::RawShard { task: id(task)?, attempt: number(file, ".tar")? },
        ["shards", "normal", task, file] => Key::NormalShard { task: id(task)?, attempt: number(file, ".tar")? },
        ["snapshots", file] => Key::Manifest { digest: file.strip_suffix(".parquet")?.parse().ok()? },
        ["checkpoints", task, attempt, file] => {
            let (epoch, step) = file.strip_suffix(".safetensors")?.split_once('-')?;
            Key::Checkpoint {
                task: id(task)?,
                attempt: attempt.parse().ok()?,
                epoch: epoch.parse().ok()?,
                step: step.parse().ok()?,
            }
        }
        ["models", digest, file] => Key::ModelFile { digest: digest.parse().ok()?, file: model_file(file)? },
        ["packages", task, attempt, digest] => {
            Key::PackageClaim { task: id(task)?, attempt: attempt.parse().ok()?, digest: digest.parse().ok()? }
        }
        ["evaluations", task, file] => Key::Evaluation { task: id(task)?, attempt: number(file, ".parquet")? },
        ["heatmaps", task, attempt, file] => {
            Key::Heatmap { task: id(task)?, attempt: attempt.parse().ok()?, image: id(file.strip_suffix(".png")?)? }
        }
        ["logs", task, attempt, file] => Key::Logs {
            task: id(task)?,
            attempt: attempt.parse().ok()?,
            digest: file.strip_suffix(".ndjson.zst")?.parse().ok()?,
        },
        ["probes", probe] => Key::Probe { id: id(probe)? },
        _ => return None,
    })
}

fn id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

fn number(file: &str, suffix: &str) -> Option<u32> {
    file.strip_suffix(suffix)?.parse().ok()
}

fn model_file(name: &str) -> Option<ModelFile> {
    ModelFile::ALL.into_iter().find(|file| file.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> [Key; 11] {
        let (task, digest) = (Uuid::from_u128(7), Digest::of(b"x"));
        [
            Key::RawShard { task, attempt: 1 },
            Key::NormalShard { task, attempt: 12 },
            Key::Manifest { digest },
            Key::Checkpoint { task, attempt: 2, epoch: 10, step: 1 << 40 },
            Key::ModelFile { digest, file: ModelFile::Weights },
            Key::ModelFile { digest, file: ModelFile::Onnx },
            Key::PackageClaim { task, attempt: 5, digest },
            Key::Evaluation { task, attempt: 4 },
            Key::Heatmap { task, attempt: 2, image: Uuid::from_u128(8) },
            Key::Logs { task, attempt: 3, digest },
            Key::Probe { id: task },
        ]
    }

    #[test]
    fn every_key_reads_back() {
        for key in one_of_each() {
            assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
        }
    }

    #[test]
    fn what_an_attempt_may_upload_lies_in_one_of_its_folders() {
        let mut seen = 0;
        for key in one_of_each() {
            let Some((task, attempt)) = key.attempt() else { continue };
            let folders = Key::folders(task, attempt).map(|folder| format!("{folder}/"));
            assert!(folders.iter().any(|folder| key.to_string().starts_with(folder)), "{key}");
            seen += 1;
        }
        assert_eq!(seen, Key::folders(Uuid::nil(), 1).len(), "each folder has its use");
    }

    #[test]
    fn what_no_part_of_ursa_writes_is_refused() {
        let task = Uuid::from_u128(7);
        for text in [
            "",
            "/etc/passwd",
            "../x",
            "models/../../x",
            "shards/raw/x/1.tar",
            &format!("shards/raw/{task}/../1.tar"),
            &format!("shards/raw/{task}/01.tar"),
            &format!("shards/raw/{task}/1.tar/"),
            &format!("shards/raw/{task}/1%2etar"),
            &format!("shards/raw/{}/1.tar", task.simple()),
            &format!("models/{}/evil.pkl", Digest::of(b"x")),
            &format!("packages/{task}/1/{task}"),
            &format!("evaluations/{task}/1.tar"),
            &format!("evaluations/{}/1.parquet", Digest::of(b"x")),
            &format!("heatmaps/{task}/1/{task}.jpg"),
            &format!("heatmaps/{task}/01/{task}.png"),
            &format!("logs/{task}/1/{}.ndjson", Digest::of(b"x")),
            &format!("logs/{task}/+1/{}.ndjson.zst", Digest::of(b"x")),
        ] {
            assert!(text.parse::<Key>().is_err(), "{text:?}");
        }
    }
}
