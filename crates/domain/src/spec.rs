//! What users ask for: the specification of each job kind, with its defaults.
//!
//! These are the values the coordinator stores with a job and workers act on. The wire has its own messages; the
//! conversion lives in `ursa-proto`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::checkpoints::KeepCheckpoints;
use crate::explanation::Explained;
use crate::lifecycle::words;
use crate::recipe::{self, Method, RateEnd, RateTest, Recipe};
use crate::search::SearchSpec;
use crate::sgd_lab::SgdLab;

/// The kinds of job there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Fetch the pictures of URL lists.
    Scrape,
    /// Decode, check and normalise fetched pictures.
    Verify,
    /// Freeze a dataset into an immutable, split version.
    Snapshot,
    /// Find the learning rate that a classifier learns best at.
    FindLr,
    /// Train a classifier on a snapshot.
    Train,
    /// Search for the hyper-parameters that a classifier learns best with.
    Search,
    /// See how a model does on a snapshot.
    Evaluate,
    /// See where in images the evidence for a class lies.
    Explain,
    /// Serve a model under an endpoint's name.
    Deploy,
    /// SGD from scratch: fit a line to points, and watch.
    SgdLab,
    /// Do nothing on workers, on purpose: shows that the system works, and how fast.
    Probe,
}

words!(JobKind, "job kind", {
    Scrape => "scrape",
    Verify => "verify",
    Snapshot => "snapshot",
    FindLr => "find_lr",
    Train => "train",
    Search => "search",
    Evaluate => "evaluate",
    Explain => "explain",
    Deploy => "deploy",
    SgdLab => "sgd_lab",
    Probe => "probe",
});

impl JobKind {
    /// Whether workers execute it. The others touch nothing but the coordinator's own state and are executed there.
    pub fn runs_on_workers(self) -> bool {
        !matches!(self, Self::Snapshot | Self::Deploy)
    }

    /// Whether it teaches a network, or has one look at many pictures: it wants a GPU where there is one, and all of a
    /// processor where there is none.
    pub fn learns(self) -> bool {
        matches!(self, Self::Train | Self::FindLr | Self::Search | Self::Evaluate)
    }

    /// Whether attempts at it put objects under keys of their own, which have to go where they do not count.
    pub fn uploads(self) -> bool {
        self.learns() || matches!(self, Self::Scrape | Self::Verify | Self::Explain)
    }
}

/// What a job shall do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// See [`ScrapeSpec`].
    Scrape(ScrapeSpec),
    /// See [`VerifySpec`].
    Verify(VerifySpec),
    /// See [`SnapshotSpec`].
    Snapshot(SnapshotSpec),
    /// See [`FindLrSpec`].
    FindLr(FindLrSpec),
    /// See [`TrainSpec`].
    Train(TrainSpec),
    /// See [`SearchSpec`].
    Search(SearchSpec),
    /// See [`EvaluateSpec`].
    Evaluate(EvaluateSpec),
    /// See [`ExplainSpec`].
    Explain(ExplainSpec),
    /// See [`DeploySpec`].
    Deploy(DeploySpec),
    /// See [`SgdLab`].
    SgdLab(SgdLab),
    /// See [`ProbeSpec`].
    Probe(ProbeSpec),
}

impl JobSpec {
    /// Its kind.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Scrape(_) => JobKind::Scrape,
            Self::Verify(_) => JobKind::Verify,
            Self::Snapshot(_) => JobKind::Snapshot,
            Self::FindLr(_) => JobKind::FindLr,
            Self::Train(_) => JobKind::Train,
            Self::Search(_) => JobKind::Search,
            Self::Evaluate(_) => JobKind::Evaluate,
            Self::Explain(_) => JobKind::Explain,
            Self::Deploy(_) => JobKind::Deploy,
            Self::SgdLab(_) => JobKind::SgdLab,
            Self::Probe(_) => JobKind::Probe,
        }
    }

    /// The dataset it works on, where it names one.
    pub fn dataset(&self) -> Option<&str> {
        match self {
            Self::Scrape(spec) => Some(&spec.dataset),
            Self::Verify(spec) => Some(&spec.dataset),
            Self::Snapshot(spec) => Some(&spec.dataset),
            Self::FindLr(_)
            | Self::Train(_)
            | Self::Search(_)
            | Self::Evaluate(_)
            | Self::Explain(_)
            | Self::Deploy(_)
            | Self::SgdLab(_)
            | Self::Probe(_) => None,
        }
    }

    /// The jobs of the same pipeline whose outputs it takes, by name, and of which kinds each may be.
    pub fn inputs(&self) -> Vec<(&str, &'static [JobKind])> {
        match self {
            Self::Scrape(_) | Self::Verify(_) | Self::Snapshot(_) | Self::SgdLab(_) | Self::Probe(_) => Vec::new(),
            Self::FindLr(spec) => spec.from.inputs(),
            Self::Train(spec) => {
                let rate = spec.rate.as_ref().map(|rate| (rate.job.as_str(), &[JobKind::FindLr][..]));
                spec.from.inputs().into_iter().chain(rate).collect()
            }
            Self::Search(spec) => spec.from.inputs(),
            Self::Evaluate(spec) => spec.snapshot.input().into_iter().chain(spec.model.input()).collect(),
            Self::Explain(spec) => spec.model.input().into_iter().collect(),
            Self::Deploy(spec) => spec.model.input().into_iter().collect(),
        }
    }

    /// Whether it may begin while a job of `kind` that it waits for still runs: it takes up what that one has committed.
    pub fn is_fed_by(&self, kind: JobKind) -> bool {
        self.kind() == JobKind::Verify && kind == JobKind::Scrape
    }
}

/// Fetch the pictures of URL lists into a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScrapeSpec {
    /// The dataset; made if it does not exist.
    pub dataset: String,
    /// One list per class. Their order is the order of the classes.
    pub classes: Vec<ClassUrls>,
    /// How to fetch.
    #[serde(default)]
    pub options: ScrapeOptions,
    /// Fetch these sources again instead of reading lists: the ids of rows that failed.
    #[serde(default)]
    pub retry_sources: Vec<Uuid>,
}

/// The URL list of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassUrls {
    /// The class, for instance "grizzly".
    pub name: String,
    /// Where the list came from, for people: a file name.
    pub list_name: String,
    /// The URLs, one per line of the list; blank lines are dropped at planning, so indices are line numbers.
    pub urls: Vec<String>,
}

/// How to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrapeOptions {
    /// Take at most this many URLs of each list.
    pub max_images_per_class: u32,
    /// URLs in one task, hence pictures in one shard.
    pub urls_per_task: u32,
    /// Requests in flight per task.
    pub concurrency: u32,
    /// Whole-request time-out in milliseconds, body included.
    pub timeout_ms: u32,
    /// Largest body in bytes.
    pub max_bytes: u64,
}

impl Default for ScrapeOptions {
    fn default() -> Self {
        Self {
            max_images_per_class: 1000,
            urls_per_task: 128,
            concurrency: 16,
            timeout_ms: 10_000,
            max_bytes: 32 << 20,
        }
    }
}

/// Decode, check and normalise what was fetched and not yet verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifySpec {
    /// The dataset.
    pub dataset: String,
    /// What to accept.
    #[serde(default)]
    pub options: VerifyOptions,
}

/// What verification accepts and what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyOptions {
    /// Larger pictures are scaled so that their longer side is this many pixels.
    pub max_side: u32,
    /// Pictures with a shorter side than this are refused.
    pub min_side: u32,
    /// Pictures with more pixels than this are refused before they are decoded.
    pub max_pixels: u64,
    /// Animations with more frames than this are refused.
    pub max_frames: u32,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { max_side: 512, min_side: 16, max_pixels: 50_000_000, max_frames: 1 }
    }
}

/// Freeze a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSpec {
    /// The dataset.
    pub dataset: String,
    /// Decides, with an image's content, which side it falls on.
    pub seed: u64,
    /// Share of the validation side, in percent, 1 to 99.
    pub valid_percent: u32,
}

/// What a network learns from, how, and where it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Learning {
    /// What to learn from.
    pub snapshot: SnapshotRef,
    /// How.
    #[serde(deserialize_with = "recipe::stored")]
    pub recipe: Recipe,
    /// The model to go on from, in place of the recipe's pretrained weights; its head is kept where the classes are the same.
    #[serde(default)]
    pub model: Option<ModelRef>,
}

impl Learning {
    fn inputs(&self) -> Vec<(&str, &'static [JobKind])> {
        self.snapshot.input().into_iter().chain(self.model.as_ref().and_then(ModelRef::input)).collect()
    }
}

/// Find the learning rate that a classifier learns best at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindLrSpec {
    /// What would be trained; the test looks at the last of its stages.
    #[serde(flatten)]
    pub from: Learning,
    /// Which rates to try.
    #[serde(default)]
    pub test: RateTest,
}

/// Train a classifier, once or several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSpec {
    /// What to train.
    #[serde(flatten)]
    pub from: Learning,
    /// Where the rates come from, if not from the recipe alone.
    #[serde(default)]
    pub rate: Option<FoundRate>,
    /// Runs with so many seeds, from the recipe's own on.
    #[serde(default = "once")]
    pub seeds: u32,
    /// Runs with so much of the training side each, in percent, rising: a learning curve. The last is what counts.
    #[serde(default = "everything")]
    pub train_percents: Vec<u32>,
    /// The runs of an earlier job to go on from, each with its seed and share; nothing but rates may differ from them.
    #[serde(default)]
    pub checkpoint: Option<CheckpointRef>,
    /// What is kept of each run's checkpoints.
    #[serde(default)]
    pub keep_checkpoints: KeepCheckpoints,
}

impl TrainSpec {
    /// Trains `from` once, on everything.
    pub fn once(from: Learning) -> Self {
        Self {
            from,
            rate: None,
            seeds: once(),
            train_percents: everything(),
            checkpoint: None,
            keep_checkpoints: KeepCheckpoints::default(),
        }
    }
}

fn once() -> u32 {
    1
}

fn everything() -> Vec<u32> {
    vec![100]
}

/// Checkpoints of an earlier train job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRef {
    /// The job.
    pub job: Uuid,
    /// After so many epochs; `None` is the best of those that are kept.
    pub epochs: Option<u32>,
}

/// A rate that a job of the same pipeline finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRate {
    /// The job.
    pub job: String,
    /// Which of its suggestions.
    pub method: Method,
    /// Which of the recipe's rates it is.
    #[serde(default, rename = "as")]
    pub end: RateEnd,
}

/// Which snapshot is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotRef {
    /// The one that a job of the same pipeline makes.
    FromJob(String),
    /// One that exists.
    Numbered {
        /// The dataset's name.
        dataset: String,
        /// Its number; `None` is the latest.
        number: Option<u32>,
    },
}

impl SnapshotRef {
    fn input(&self) -> Option<(&str, &'static [JobKind])> {
        match self {
            Self::FromJob(job) => Some((job, &[JobKind::Snapshot])),
            Self::Numbered { .. } => None,
        }
    }
}

/// See how a model does on a snapshot, be it the one that it was trained with or any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluateSpec {
    /// The pictures.
    pub snapshot: SnapshotRef,
    /// The model.
    pub model: ModelRef,
}

/// See where in images the evidence for a class lies: for a model that need not be served, of images of any dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainSpec {
    /// The model.
    pub model: ModelRef,
    /// The images, each once.
    pub images: Vec<Uuid>,
    /// For which class of each.
    #[serde(default)]
    pub of: Explained,
}

/// Serve a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploySpec {
    /// The endpoint; made if it does not exist.
    pub endpoint: String,
    /// What to serve.
    pub model: ModelRef,
    /// How long the nodes have to prove and load the model, in seconds.
    pub timeout_seconds: u32,
}

/// Which model is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRef {
    /// The one that a job of the same pipeline trains, or the best that it finds.
    FromJob(String),
    /// One that exists, by digest.
    Digest(String),
}

impl ModelRef {
    fn input(&self) -> Option<(&str, &'static [JobKind])> {
        match self {
            Self::FromJob(job) => Some((job, &[JobKind::Train, JobKind::Search])),
            Self::Digest(_) => None,
        }
    }
}

/// Do nothing on workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// How many tasks.
    pub tasks: u32,
    /// How long each takes, in milliseconds.
    pub duration_ms: u64,
    /// How many of the first attempts fail on purpose, one per task, as if by bad luck.
    #[serde(default)]
    pub failures: u32,
}

#[cfg(test)]
mod tests {
    use crate::policy::JobPolicy;
    use crate::recipe::{Architecture, Rate, Stage};

    use super::*;

    fn read(json: &str) -> JobSpec {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn a_specification_is_read_that_was_stored_before_its_newer_members_existed() {
        let JobSpec::Scrape(scrape) = read(r#"{"kind": "scrape", "dataset": "bears", "classes": []}"#) else {
            panic!()
        };
        assert_eq!((scrape.options, scrape.retry_sources.len()), (ScrapeOptions::default(), 0));
        let JobSpec::Verify(verify) = read(r#"{"kind": "verify", "dataset": "bears", "options": {"min_side": 8}}"#)
        else {
            panic!()
        };
        assert_eq!(verify.options, VerifyOptions { min_side: 8, ..VerifyOptions::default() });
        read(r#"{"kind": "snapshot", "dataset": "bears", "seed": 42, "valid_percent": 20}"#);
        read(r#"{"kind": "deploy", "endpoint": "bears", "model": {"from_job": "train"}, "timeout_seconds": 120}"#);
        read(r#"{"kind": "find_lr", "snapshot": {"from_job": "freeze"}, "recipe": {}}"#);
        read(r#"{"kind": "evaluate", "snapshot": {"from_job": "freeze"}, "model": {"digest": "01234567"}}"#);
        read(r#"{"kind": "explain", "model": {"digest": "01234567"}, "images": []}"#);
        read(r#"{"kind": "sgd_lab"}"#);
        read(r#"{"kind": "probe", "tasks": 1, "duration_ms": 0}"#);
        let policy: JobPolicy = serde_json::from_str("{}").unwrap();
        assert_eq!(policy, JobPolicy::default());
    }

    #[test]
    fn a_train_job_of_the_first_form_means_what_it_meant() {
        let JobSpec::Train(train) = read(
            r#"{"kind": "train", "snapshot": {"numbered": {"dataset": "bears", "number": null}}, "recipe": {
                "architecture": "resnet18", "epochs": 3, "frozen_epochs": 0, "batch_size": 32, "image_size": 128,
                "max_learning_rate": 2e-3, "weight_decay": 0.01, "augment": false, "seed": 7, "pretrained": null}}"#,
        ) else {
            panic!()
        };
        let recipe = &train.from.recipe;
        assert_eq!(recipe.stages, [Stage::one_cycle(3, Rate::Flat(2e-3))]);
        assert_eq!((recipe.architecture, recipe.batch_size, recipe.seed), (Architecture::ResNet18, 32, 7));
        assert!(recipe.augmentation.is_none() && recipe.stop_early);
        assert_eq!(train, TrainSpec::once(train.from.clone()));
    }

    #[test]
    fn what_is_stored_today_reads_back_and_what_is_no_recipe_is_named() {
        let snapshot = SnapshotRef::FromJob("freeze".into());
        let from = Learning { snapshot, recipe: Recipe::default(), model: Some(ModelRef::Digest("0123".into())) };
        let spec = JobSpec::Train(TrainSpec { seeds: 3, ..TrainSpec::once(from) });
        assert_eq!(read(&serde_json::to_string(&spec).unwrap()), spec);
        let error = serde_json::from_str::<JobSpec>(
            r#"{"kind": "train", "snapshot": {"from_job": "s"}, "recipe": {"learning_rate": 1}}"#,
        );
        assert!(error.unwrap_err().to_string().contains("learning_rate"));
    }
}
