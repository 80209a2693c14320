//! What the worker and the trainer say to each other: JSON lines over the trainer's stdin and stdout.
//!
//! The worker writes one [`TrainerInput::Run`] first, perhaps [`TrainerInput::Cancel`] later. The trainer answers with
//! [`TrainerEvent`]s and ends with exactly one `Finished` or `Failed`. When stdin closes before that, the supervisor is
//! gone and the trainer must end at once: an orphan holds a GPU nobody can take back.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ErrorClass;
use crate::evaluation::Evaluation;
use crate::lifecycle::words;
use crate::recipe::{Method, RateTest, Recipe};
use crate::search::Measured;
use crate::sgd_lab::SgdLab;

/// A line the worker writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TrainerInput {
    /// The run to execute; it, [`TrainerInput::Evaluate`], [`TrainerInput::Explain`] or [`TrainerInput::Lab`] is always the
    /// first line.
    Run(Box<RunOrder>),
    /// The model to have a look at the pictures of a snapshot.
    Evaluate(Box<EvaluationOrder>),
    /// The model to say what in pictures speaks for a class.
    Explain(ExplanationOrder),
    /// The experiment to make.
    Lab(SgdLab),
    /// Stop after the present batch, see a checkpoint of it into the store, and exit: the next attempt goes on with the next
    /// batch.
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
    pub recipe: Recipe,
    /// Share of the training side to learn from, in percent.
    pub train_percent: u32,
    /// The rates to try, when they are what is wanted, and no model.
    pub rate_test: Option<RateTest>,
    /// The part of a trial to do, when this is one of a search: it ends with a checkpoint where the recipe goes on, and that
    /// its loss is no number is a result.
    #[serde(default)]
    pub rung: Option<Rung>,
    /// Where to go on, when an earlier attempt left a checkpoint.
    pub resume: Option<CheckpointInfo>,
    /// Where to go on should that one be gone or damaged, newest first.
    #[serde(default)]
    pub earlier: Vec<CheckpointInfo>,
    /// The checkpoint of another run to begin with, when no attempt of this one has left any. Nothing but rates may differ
    /// between the two.
    #[serde(default)]
    pub start: Option<CheckpointInfo>,
    /// Where the object store is, in the form `ursa-storage` opens.
    pub object_store: String,
    /// A folder for decoded pictures and downloaded weights, shared by runs on this machine.
    pub cache_dir: String,
    /// Processor threads the run may use.
    pub threads: u32,
    /// Private networks that pretrained weights may be fetched from, as CIDR.
    pub allowed_networks: Vec<String>,
    /// Processes that learn the run together, each from its share of every batch: one for each GPU. They share the threads.
    #[serde(default = "one")]
    pub processes: u32,
    /// A checkpoint is written where the last one is older than so many seconds; with 0, after every batch.
    #[serde(default = "minute")]
    pub checkpoint_seconds: u32,
    /// GPUs that the run was given and has to find: without any it fails. With 0 it takes what is there, be it the CPU.
    #[serde(default)]
    pub gpus: u32,
}

fn one() -> u32 {
    1
}

fn minute() -> u32 {
    60
}

/// Everything an evaluation needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationOrder {
    /// The task this evaluation is an attempt of.
    pub task_id: Uuid,
    /// Which attempt, from 1: part of the key of what it writes.
    pub attempt: u32,
    /// The snapshot whose pictures are looked at, on both sides.
    pub snapshot: SnapshotInfo,
    /// Digest of the model package, hex.
    pub model_digest: String,
    /// Where the object store is, in the form `ursa-storage` opens.
    pub object_store: String,
    /// A folder for decoded pictures, shared by runs on this machine.
    pub cache_dir: String,
    /// Processor threads it may use.
    pub threads: u32,
}

/// Everything an explanation needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplanationOrder {
    /// The task this explanation is an attempt of.
    pub task_id: Uuid,
    /// Which attempt, from 1: part of the keys of what it writes.
    pub attempt: u32,
    /// Digest of the model package, hex.
    pub model_digest: String,
    /// The images that are explained.
    pub images: Vec<ImageToExplain>,
    /// Where the object store is, in the form `ursa-storage` opens.
    pub object_store: String,
    /// Processor threads it may use.
    pub threads: u32,
}

/// An image, where its normalised picture lies, and what of it is explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageToExplain {
    /// Its id.
    pub id: Uuid,
    /// Key of the shard in the object store.
    pub shard: String,
    /// Where the picture lies in the shard: offset in bytes.
    pub offset: u64,
    /// Where the picture lies in the shard: length in bytes.
    pub length: u64,
    /// One of the model's classes; `None` is what the model takes the image for.
    pub class: Option<String>,
}

/// A part of a run: epochs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Epochs that earlier rungs have done.
    pub after: u32,
    /// Epochs that are done at its end, from the first of the run.
    pub until: u32,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// The attempt that wrote it.
    pub attempt: u32,
    /// Epochs completed when it was written.
    pub epoch: u32,
    /// Batches done in the whole run when it was written.
    pub step: u64,
    /// Key in the object store.
    pub key: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
    /// Error rate on the validation side, as a fraction, where it was measured just before: after an epoch.
    #[serde(default)]
    pub error_rate: Option<f64>,
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
        /// Of a batch: `train_loss`, `train_loss_smooth`, `learning_rate` (the head's) with `learning_rate_early` and
        /// `learning_rate_late` of the body, `momentum`. Of an epoch: `train_loss_measured`, `train_error_rate`, `valid_loss`,
        /// `error_rate` with `error_rate_low` and `error_rate_high`, which are `wrong` of `validated`, `images_per_second`,
        /// `memory_bytes`; the worker adds `gpu_utilisation` in [0, 1] and `gpu_memory_bytes`.
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
    /// The run is over and what it made is in the object store, where it makes something to be kept there.
    Finished(Box<RunResult>),
    /// The run cannot go on.
    Failed {
        /// Whether another attempt may help.
        class: ErrorClass,
        /// What happened, to what, and what to do.
        message: String,
        /// What was wrong with the run, the most urgent first, where that is what ended it.
        #[serde(default)]
        findings: Vec<Finding>,
    },
}

/// What a run leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// A model.
    Model(TrainedModel),
    /// What a test of learning rates found.
    Rates(FoundRates),
    /// How a model does on a snapshot.
    Evaluation(EvaluatedModel),
    /// What in images speaks for a class, in the order of the images.
    Explanations(Vec<ExplainedImage>),
    /// How an experiment ended.
    Lab(SgdOutcome),
    /// How good a trial was at the end of a rung from which it may go on.
    Rung(Measured),
    /// A trial whose loss was no number, or absurd: what happened.
    Diverged(String),
}

/// A trained model, and how its run went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainedModel {
    /// Digest of the model package (SHA-256 of its model.json), hex.
    pub model_digest: String,
    /// The package's model.json, verbatim.
    pub model_json: String,
    /// Error rate on the validation side after each epoch, as a fraction.
    pub error_rates: Vec<f64>,
    /// Confusion matrix on the validation side: rows actual, columns predicted.
    pub confusion: Vec<Vec<u64>>,
    /// Images of the validation side that it takes for another class.
    pub errors: u64,
    /// Images of the validation side.
    pub validated: u64,
    /// Training images.
    pub trained: u64,
    /// What is wrong with the run, the most urgent first.
    pub findings: Vec<Finding>,
}

/// How a model does on a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedModel {
    /// What it says of every picture, as Parquet.
    pub predictions: StoredObject,
    /// How good that is.
    pub evaluation: Evaluation,
}

/// What in an image speaks for a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainedImage {
    /// Its id.
    pub id: Uuid,
    /// The class that is explained.
    pub class: String,
    /// What the model gives it, as a fraction.
    pub probability: f32,
    /// The class that the model takes the image for.
    pub predicted: String,
    /// Rows and columns of the evidence.
    pub side: u32,
    /// The evidence by place, row by row, 0 and above, not scaled; all 0 where nothing speaks for the class.
    pub values: Vec<f32>,
    /// The picture as the model sees it, bright where the evidence lies: a PNG.
    pub overlay: StoredObject,
}

/// What lies in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Key in the object store.
    pub key: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// What can go wrong with a training run (lesson 2, 54–58).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The loss explodes, or the validation loss is absurd.
    RateTooHigh,
    /// The losses fall, slowly.
    RateTooLow,
    /// The losses were still falling at the end.
    TooFewEpochs,
    /// The error rate got worse.
    Overfitting,
    /// The network knows its pictures and not new ones.
    TooLittleData,
    /// A rare class fares worse than the others.
    UnbalancedClasses,
    /// Memory did not hold a batch: it was learned from in parts.
    MemoryRanOut,
}

words!(Problem, "problem", {
    RateTooHigh => "rate_too_high",
    RateTooLow => "rate_too_low",
    TooFewEpochs => "too_few_epochs",
    Overfitting => "overfitting",
    TooLittleData => "too_little_data",
    UnbalancedClasses => "unbalanced_classes",
    MemoryRanOut => "memory_ran_out",
});

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub problem: Problem,
    /// What was seen, with its numbers.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub advice: String,
    /// The recipe to submit next, where a changed recipe helps.
    pub recipe: Option<Recipe>,
    /// The epoch (from 0) after which the network was last good, where going back helps.
    pub go_back_to: Option<u32>,
}

/// What a test of learning rates found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundRates {
    /// In the order of the rates.
    pub points: Vec<RatePoint>,
    /// What each method says; the error says why none can be followed.
    pub suggestions: Result<Vec<Suggestion>, String>,
}

/// One batch of a test of learning rates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatePoint {
    /// From 0.
    pub step: u32,
    /// Of every group.
    pub rate: f64,
    /// Debiased exponential average (beta 0.98): what is plotted.
    pub loss: f64,
    /// Of the batch alone.
    pub batch_loss: f64,
}

/// A learning rate and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// How it was chosen.
    pub method: Method,
    /// The rate.
    pub rate: f64,
    /// One sentence for people.
    pub reason: String,
}

/// The state of an experiment before an update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SgdStep {
    /// Updates done.
    pub step: u32,
    /// Slope and intercept.
    pub coefficients: [f64; 2],
    /// Mean squared error of the points of the update that follows; of all points after the last one.
    pub loss: f64,
}

/// How an experiment ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SgdOutcome {
    /// The last state.
    pub last: SgdStep,
    /// The coefficients with the least loss on these points.
    pub optimum: [f64; 2],
    /// That loss.
    pub least_loss: f64,
    /// Above this learning rate full-batch updates overshoot farther each time: 2 / the largest curvature of the loss.
    pub rate_limit: f64,
    /// Whether the loss left all bounds.
    pub diverged: bool,
    /// One sentence for people.
    pub verdict: String,
}
