//! What the worker and the trainer say to each other: JSON lines over the trainer's stdin and stdout.
//!
//! The worker writes one [`TrainerInput::Run`] first, perhaps [`TrainerInput::Cancel`] later. The trainer answers with
//! [`TrainerEvent`]s and ends with exactly one `Finished` or `Failed`. When stdin closes before that, the supervisor is
//! gone and the trainer must end at once: an orphan holds a GPU nobody can take back.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ErrorClass;
use crate::spec::TrainRecipe;

/// A line the worker writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TrainerInput {
    /// The run to execute; always the first line.
    Run(Box<RunOrder>),
    /// Stop after the present batch, see the last epoch's checkpoint into the store, and exit. A run can be saved between
    /// epochs only: the next attempt does the batches of the present epoch again.
    Cancel,
}

/// Everything one training run needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOrder {
    /// The job this run belongs to.
    pub job_id: Uuid,
    /// The task this run is an attempt of.
    pub task_id: Uuid,
    /// Which attempt, from 1: part of the key of everything the run writes.
    pub attempt: u32,
    /// The snapshot to learn from.
    pub snapshot: SnapshotInfo,
    /// What to train and how.
    pub recipe: TrainRecipe,
    /// Where to go on, when an earlier attempt left a checkpoint.
    pub resume: Option<CheckpointInfo>,
    /// Where the object store is, in the form `ursa-storage` opens.
    pub object_store: String,
    /// A folder for decoded pictures and downloaded weights, shared by runs on this machine.
    pub cache_dir: String,
    /// Processor threads the run may use.
    pub threads: u32,
    /// Private networks that pretrained weights may be fetched from, as CIDR.
    pub allowed_networks: Vec<String>,
}

/// Which snapshot, and how to prove that it is the one meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: Uuid,
    /// The dataset's name.
    pub dataset: String,
    /// Its number within the dataset, from 1.
    pub number: u32,
    /// SHA-256 of the manifest, hex: also its key in the object store.
    pub digest: String,
}

/// One checkpoint in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// The attempt that wrote it.
    pub attempt: u32,
    /// Epochs completed when it was written.
    pub epoch: u32,
    /// Key in the object store.
    pub key: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// A line the trainer writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TrainerEvent {
    /// Something a person may want to read.
    Log {
        /// info, warn or error.
        level: String,
        /// One line.
        message: String,
    },
    /// How far the run is.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// What is counted, for instance "batches".
        unit: String,
        /// What is going on, for instance "epoch 3 of 8".
        message: String,
    },
    /// One measurement.
    Metric {
        /// `train_loss`, `valid_loss`, `error_rate`, `learning_rate`, `momentum`, `images_per_second`.
        name: String,
        /// Batches done in the whole run when it was measured.
        step: u64,
        /// Epoch it belongs to, from 0.
        epoch: u32,
        /// The value; rates are fractions in [0, 1].
        value: f64,
    },
    /// A checkpoint is in the object store.
    Checkpoint(CheckpointInfo),
    /// The run is over and its model package is in the object store.
    Finished(Box<RunResult>),
    /// The run cannot go on.
    Failed {
        /// Whether another attempt may help.
        class: ErrorClass,
        /// What happened, to what, and what to do.
        message: String,
    },
}

/// What a run leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Digest of the model package (SHA-256 of its model.json), hex.
    pub model_digest: String,
    /// The package's model.json, verbatim.
    pub model_json: String,
    /// Error rate on the validation side after each epoch, as a fraction.
    pub error_rates: Vec<f64>,
    /// Confusion matrix on the validation side: rows actual, columns predicted.
    pub confusion: Vec<Vec<u64>>,
}
