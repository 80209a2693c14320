//! One job of a pipeline file: its keys, and what becomes of them.

mod learning;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use ursa_domain::checkpoints::KeepCheckpoints;
use ursa_domain::explanation::Explained;
use ursa_domain::recipe::{Augmentation, Mix, Momentum, PretrainedWeights, RateTest, Stage};
use ursa_domain::search::Space;
use ursa_domain::sgd_lab::Noise;
use ursa_proto::v1;
use v1::job_definition::Spec;

use super::Ordered;
use super::policy::{BackoffEntry, Condition, DeadlinesEntry, ResourcesEntry};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Scrape,
    Verify,
    Snapshot,
    FindLr,
    Train,
    Search,
    Evaluate,
    Explain,
    Deploy,
    SgdLab,
    Probe,
}

/// The keys of every kind, so that a misspelt one is found where it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobEntry {
    kind: Option<Kind>,
    after: Option<Vec<String>>,
    // How it is worked on, whatever its kind
    max_attempts: Option<u32>,
    backoff: Option<BackoffEntry>,
    min_success_ratio: Option<f64>,
    parallelism: Option<u32>,
    deadlines: Option<DeadlinesEntry>,
    priority: Option<u32>,
    preemptible: Option<bool>,
    fresh: Option<bool>,
    resources: Option<ResourcesEntry>,
    workers: Option<u32>,
    condition: Option<Condition>,
    // scrape, verify, snapshot
    dataset: Option<String>,
    // scrape
    classes: Option<Ordered<UrlList>>,
    max_images_per_class: Option<u32>,
    urls_per_task: Option<u32>,
    concurrency: Option<u32>,
    timeout_ms: Option<u32>,
    max_bytes: Option<u64>,
    // verify
    max_side: Option<u32>,
    min_side: Option<u32>,
    max_pixels: Option<u64>,
    max_frames: Option<u32>,
    // snapshot, sgd_lab, and what learns
    seed: Option<u64>,
    // snapshot
    valid_percent: Option<u32>,
    // evaluate, and what learns
    snapshot: Option<String>,
    snapshot_from: Option<String>,
    // what learns
    architecture: Option<String>,
    numerics: Option<String>,
    epochs: Option<u32>,
    frozen_epochs: Option<u32>,
    max_learning_rate: Option<f64>,
    fine_tune: Option<bool>,
    stages: Option<Vec<Stage>>,
    image_size: Option<u32>,
    micro_batch: Option<u32>,
    weight_decay: Option<f64>,
    momentum: Option<Momentum>,
    dropout: Option<f64>,
    label_smoothing: Option<f64>,
    augment: Option<bool>,
    augmentation: Option<Augmentation>,
    mix: Option<Mix>,
    balance: Option<String>,
    weight_average: Option<f64>,
    pretrained: Option<PretrainedWeights>,
    stop_early: Option<bool>,
    deterministic: Option<bool>,
    // sgd_lab, and what learns
    batch_size: Option<u32>,
    // find_lr
    test: Option<RateTest>,
    // train
    rate_from: Option<String>,
    rate_method: Option<String>,
    rate_as: Option<String>,
    seeds: Option<u32>,
    train_percents: Option<Vec<u32>>,
    checkpoint: Option<String>,
    keep_checkpoints: Option<KeepCheckpoints>,
    // search
    space: Option<Space>,
    trials: Option<u32>,
    min_epochs: Option<u32>,
    reduction: Option<u32>,
    // sgd_lab
    points: Option<u32>,
    coefficients: Option<[f64; 2]>,
    noise: Option<Noise>,
    learning_rate: Option<f64>,
    steps: Option<u32>,
    // explain
    images: Option<Vec<String>>,
    of: Option<Explained>,
    // evaluate, explain, deploy, and what learns and goes on from a model
    model: Option<String>,
    model_from: Option<String>,
    // deploy
    endpoint: Option<String>,
    timeout_seconds: Option<u32>,
    // probe
    tasks: Option<u32>,
    duration_ms: Option<u64>,
    failures: Option<u32>,
}

/// The URLs of one class: a file of them, or the URLs themselves.
#[derive(Deserialize)]
#[serde(untagged)]
enum UrlList {
    File(PathBuf),
    Urls(Vec<String>),
}

impl Kind {
    fn of(spec: &Spec) -> Self {
        match spec {
            Spec::Scrape(_) => Self::Scrape,
            Spec::Verify(_) => Self::Verify,
            Spec::Snapshot(_) => Self::Snapshot,
            Spec::FindLr(_) => Self::FindLr,
            Spec::Train(_) => Self::Train,
            Spec::Search(_) => Self::Search,
            Spec::Evaluate(_) => Self::Evaluate,
            Spec::Explain(_) => Self::Explain,
            Spec::Deploy(_) => Self::Deploy,
            Spec::SgdLab(_) => Self::SgdLab,
            Spec::Probe(_) => Self::Probe,
        }
    }

    /// A specification of which nothing is said yet.
    fn empty(self) -> Spec {
        match self {
            Self::Scrape => Spec::Scrape(v1::ScrapeSpec::default()),
            Self::Verify => Spec::Verify(v1::VerifySpec::default()),
            Self::Snapshot => Spec::Snapshot(v1::SnapshotSpec { seed: 42, ..v1::SnapshotSpec::default() }),
            Self::FindLr => Spec::FindLr(v1::FindLrSpec::default()),
            Self::Train => Spec::Train(v1::TrainSpec::default()),
            Self::Search => Spec::Search(v1::SearchSpec::default()),
            Self::Evaluate => Spec::Evaluate(v1::EvaluateSpec::default()),
            Self::Explain => Spec::Explain(v1::ExplainSpec::default()),
            Self::Deploy => Spec::Deploy(v1::DeploySpec::default()),
            Self::SgdLab => Spec::SgdLab(v1::SgdLabSpec::default()),
            Self::Probe => Spec::Probe(v1::ProbeSpec::default()),
        }
    }
}

impl JobEntry {
    /// The job called `name`; `folder` is where its URL lists are.
    pub(super) fn into_definition(mut self, name: &str, folder: &Path) -> Result<v1::JobDefinition, String> {
        let kind = self.kind.take().ok_or_else(|| missing("kind"))?;
        let mut job =
            v1::JobDefinition { name: name.to_owned(), spec: Some(kind.empty()), ..v1::JobDefinition::default() };
        self.apply(&mut job, folder)?;
        job.spec.as_ref().map_or(Ok(()), require)?;
        Ok(job)
    }

    /// Changes what it names of `job` and leaves the rest.
    pub(super) fn apply(self, job: &mut v1::JobDefinition, folder: &Path) -> Result<(), String> {
        if self.kind.is_some() {
            return Err("the kind of a job cannot be changed".into());
        }
        let Some(mut spec) = job.spec.take() else { return Err("the job has no specification".into()) };
        self.refuse_keys_of_other_kinds(Kind::of(&spec))?;
        let entry = self.apply_policy(job);
        match &mut spec {
            Spec::Scrape(scrape) => entry.apply_scrape(scrape, folder)?,
            Spec::Verify(verify) => entry.apply_verify(verify),
            Spec::Snapshot(snapshot) => entry.apply_snapshot(snapshot),
            Spec::FindLr(find_lr) => entry.apply_find_lr(find_lr)?,
            Spec::Train(train) => entry.apply_train(train)?,
            Spec::Search(search) => entry.apply_search(search)?,
            Spec::Evaluate(evaluate) => entry.apply_evaluate(evaluate)?,
            Spec::Explain(explain) => entry.apply_explain(explain)?,
            Spec::Deploy(deploy) => entry.apply_deploy(deploy)?,
            Spec::SgdLab(lab) => entry.apply_sgd_lab(lab),
            Spec::Probe(probe) => entry.apply_probe(probe),
        }
        job.spec = Some(spec);
        Ok(())
    }

    /// A key that the job's kind does not know would be ignored silently otherwise.
    fn refuse_keys_of_other_kinds(&self, kind: Kind) -> Result<(), String> {
        use Kind::{Deploy, Evaluate, Explain, FindLr, Probe, Scrape, Search, SgdLab, Snapshot, Train, Verify};
        const LEARN: &[Kind] = &[FindLr, Train, Search];
        const LOOK: &[Kind] = &[FindLr, Train, Search, Evaluate];
        const GO_ON: &[Kind] = &[FindLr, Train, Search, Evaluate, Explain, Deploy];
        let keys: [(&str, bool, &[Kind]); 63] = [
            ("dataset", self.dataset.is_some(), &[Scrape, Verify, Snapshot]),
            ("classes", self.classes.is_some(), &[Scrape]),
            ("max_images_per_class", self.max_images_per_class.is_some(), &[Scrape]),
            ("urls_per_task", self.urls_per_task.is_some(), &[Scrape]),
            ("concurrency", self.concurrency.is_some(), &[Scrape]),
            ("timeout_ms", self.timeout_ms.is_some(), &[Scrape]),
            ("max_bytes", self.max_bytes.is_some(), &[Scrape]),
            ("max_side", self.max_side.is_some(), &[Verify]),
            ("min_side", self.min_side.is_some(), &[Verify]),
            ("max_pixels", self.max_pixels.is_some(), &[Verify]),
            ("max_frames", self.max_frames.is_some(), &[Verify]),
            ("seed", self.seed.is_some(), &[Snapshot, FindLr, Train, Search, SgdLab]),
            ("valid_percent", self.valid_percent.is_some(), &[Snapshot]),
            ("snapshot", self.snapshot.is_some(), LOOK),
            ("snapshot_from", self.snapshot_from.is_some(), LOOK),
            ("architecture", self.architecture.is_some(), LEARN),
            ("numerics", self.numerics.is_some(), LEARN),
            ("epochs", self.epochs.is_some(), LEARN),
            ("frozen_epochs", self.frozen_epochs.is_some(), LEARN),
            ("max_learning_rate", self.max_learning_rate.is_some(), LEARN),
            ("fine_tune", self.fine_tune.is_some(), LEARN),
            ("stages", self.stages.is_some(), LEARN),
            ("image_size", self.image_size.is_some(), LEARN),
            ("micro_batch", self.micro_batch.is_some(), LEARN),
            ("weight_decay", self.weight_decay.is_some(), LEARN),
            ("momentum", self.momentum.is_some(), LEARN),
            ("dropout", self.dropout.is_some(), LEARN),
            ("label_smoothing", self.label_smoothing.is_some(), LEARN),
            ("augment", self.augment.is_some(), LEARN),
            ("augmentation", self.augmentation.is_some(), LEARN),
            ("mix", self.mix.is_some(), LEARN),
            ("balance", self.balance.is_some(), LEARN),
            ("weight_average", self.weight_average.is_some(), LEARN),
            ("pretrained", self.pretrained.is_some(), LEARN),
            ("stop_early", self.stop_early.is_some(), &[Train, Search]),
            ("deterministic", self.deterministic.is_some(), LEARN),
            ("batch_size", self.batch_size.is_some(), &[FindLr, Train, Search, SgdLab]),
            ("test", self.test.is_some(), &[FindLr]),
            ("space", self.space.is_some(), &[Search]),
            ("trials", self.trials.is_some(), &[Search]),
            ("min_epochs", self.min_epochs.is_some(), &[Search]),
            ("reduction", self.reduction.is_some(), &[Search]),
            ("rate_from", self.rate_from.is_some(), &[Train]),
            ("rate_method", self.rate_method.is_some(), &[Train]),
            ("rate_as", self.rate_as.is_some(), &[Train]),
            ("seeds", self.seeds.is_some(), &[Train]),
            ("train_percents", self.train_percents.is_some(), &[Train]),
            ("checkpoint", self.checkpoint.is_some(), &[Train]),
            ("keep_checkpoints", self.keep_checkpoints.is_some(), &[Train]),
            ("points", self.points.is_some(), &[SgdLab]),
            ("coefficients", self.coefficients.is_some(), &[SgdLab]),
            ("noise", self.noise.is_some(), &[SgdLab]),
            ("learning_rate", self.learning_rate.is_some(), &[SgdLab]),
            ("steps", self.steps.is_some(), &[SgdLab]),
            ("images", self.images.is_some(), &[Explain]),
            ("of", self.of.is_some(), &[Explain]),
            ("endpoint", self.endpoint.is_some(), &[Deploy]),
            ("model", self.model.is_some(), GO_ON),
            ("model_from", self.model_from.is_some(), GO_ON),
            ("timeout_seconds", self.timeout_seconds.is_some(), &[Deploy]),
            ("tasks", self.tasks.is_some(), &[Probe]),
            ("duration_ms", self.duration_ms.is_some(), &[Probe]),
            ("failures", self.failures.is_some(), &[Probe]),
        ];
        let stray = keys.iter().find(|(_, given, kinds)| *given && !kinds.contains(&kind));
        stray.map_or(Ok(()), |(key, ..)| Err(format!("{key:?} is not a key of this kind of job")))
    }

    fn apply_policy(mut self, job: &mut v1::JobDefinition) -> Self {
        set(&mut job.after, self.after.take());
        set(&mut job.max_attempts, self.max_attempts);
        if let Some(backoff) = self.backoff.take() {
            backoff.apply(job.backoff.get_or_insert_default());
        }
        set(&mut job.min_success_ratio, self.min_success_ratio);
        set(&mut job.parallelism, self.parallelism);
        if let Some(deadlines) = self.deadlines.take() {
            deadlines.apply(job.deadlines.get_or_insert_default());
        }
        job.priority = self.priority.or(job.priority);
        set(&mut job.preemptible, self.preemptible);
        set(&mut job.fresh, self.fresh);
        if let Some(resources) = self.resources.take() {
            resources.apply(job.resources.get_or_insert_default());
        }
        set(&mut job.workers, self.workers);
        set(&mut job.condition, self.condition.map(|condition| condition.word().to_owned()));
        self
    }

    fn apply_scrape(self, scrape: &mut v1::ScrapeSpec, folder: &Path) -> Result<(), String> {
        set(&mut scrape.dataset, self.dataset);
        if let Some(classes) = self.classes {
            let lists = classes.0.into_iter().map(|(name, list)| read_list(name, list, folder));
            scrape.classes = lists.collect::<Result<_, _>>()?;
        }
        set(&mut scrape.max_images_per_class, self.max_images_per_class);
        set(&mut scrape.urls_per_task, self.urls_per_task);
        set(&mut scrape.concurrency, self.concurrency);
        set(&mut scrape.timeout_ms, self.timeout_ms);
        set(&mut scrape.max_bytes, self.max_bytes);
        Ok(())
    }

    fn apply_verify(self, verify: &mut v1::VerifySpec) {
        set(&mut verify.dataset, self.dataset);
        set(&mut verify.max_side, self.max_side);
        set(&mut verify.min_side, self.min_side);
        set(&mut verify.max_pixels, self.max_pixels);
        set(&mut verify.max_frames, self.max_frames);
    }

    fn apply_snapshot(self, snapshot: &mut v1::SnapshotSpec) {
        set(&mut snapshot.dataset, self.dataset);
        set(&mut snapshot.seed, self.seed);
        set(&mut snapshot.valid_percent, self.valid_percent);
    }

    fn apply_sgd_lab(self, lab: &mut v1::SgdLabSpec) {
        use v1::sgd_lab_spec::Noise as Wire;
        set(&mut lab.points, self.points);
        if let Some([slope, intercept]) = self.coefficients {
            (lab.slope, lab.intercept) = (Some(slope), Some(intercept));
        }
        if let Some(noise) = self.noise {
            lab.noise = Some(match noise {
                Noise::Uniform(width) => Wire::UniformNoise(width),
                Noise::Normal(deviation) => Wire::NormalNoise(deviation),
            });
        }
        lab.learning_rate = self.learning_rate.or(lab.learning_rate);
        set(&mut lab.batch_size, self.batch_size);
        set(&mut lab.steps, self.steps);
        lab.seed = self.seed.or(lab.seed);
    }

    fn apply_explain(self, explain: &mut v1::ExplainSpec) -> Result<(), String> {
        use v1::explain_spec::{Model, Of};
        match (self.model_from, self.model) {
            (None, None) => {}
            (Some(job), None) => explain.model = Some(Model::ModelFromJob(job)),
            (None, Some(digest)) => explain.model = Some(Model::ModelDigest(digest)),
            (Some(_), Some(_)) => return Err(NEEDS_MODEL.into()),
        }
        set(&mut explain.image_ids, self.images);
        if let Some(of) = self.of {
            explain.of = match of {
                Explained::Actual => None,
                Explained::Predicted => Some(Of::Predicted(true)),
                Explained::Class(class) => Some(Of::Class(class)),
            };
        }
        Ok(())
    }

    fn apply_deploy(self, deploy: &mut v1::DeploySpec) -> Result<(), String> {
        use v1::deploy_spec::Model;
        match (self.model_from, self.model) {
            (None, None) => {}
            (Some(job), None) => deploy.model = Some(Model::ModelFromJob(job)),
            (None, Some(digest)) => deploy.model = Some(Model::ModelDigest(digest)),
            (Some(_), Some(_)) => return Err(NEEDS_MODEL.into()),
        }
        set(&mut deploy.endpoint, self.endpoint);
        set(&mut deploy.timeout_seconds, self.timeout_seconds);
        Ok(())
    }

    fn apply_probe(self, probe: &mut v1::ProbeSpec) {
        set(&mut probe.tasks, self.tasks);
        set(&mut probe.duration_ms, self.duration_ms);
        set(&mut probe.failures, self.failures);
    }
}

pub(super) const NEEDS_SNAPSHOT: &str = "needs either `snapshot_from: JOB` or `snapshot: DATASET@NUMBER`";
pub(super) const NEEDS_MODEL: &str = "needs either `model_from: JOB` or `model: DIGEST`";

pub(super) fn set<T>(member: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *member = given;
    }
}

/// What no default can stand for.
fn require(spec: &Spec) -> Result<(), String> {
    let named = |key: &str, name: &str| if name.is_empty() { Err(missing(key)) } else { Ok(()) };
    match spec {
        Spec::Scrape(scrape) => named("dataset", &scrape.dataset)
            .and_then(|()| if scrape.classes.is_empty() { Err(missing("classes")) } else { Ok(()) }),
        Spec::Verify(verify) => named("dataset", &verify.dataset),
        Spec::Snapshot(snapshot) => named("dataset", &snapshot.dataset),
        Spec::FindLr(find_lr) => {
            let snapshot = find_lr.training.as_ref().and_then(|training| training.snapshot.as_ref());
            snapshot.map(drop).ok_or_else(|| NEEDS_SNAPSHOT.into())
        }
        Spec::Train(train) => train.snapshot.as_ref().map(drop).ok_or_else(|| NEEDS_SNAPSHOT.into()),
        Spec::Search(search) => {
            let snapshot = search.training.as_ref().and_then(|training| training.snapshot.as_ref());
            snapshot.map(drop).ok_or_else(|| NEEDS_SNAPSHOT.into())
        }
        Spec::Evaluate(evaluate) => match (&evaluate.snapshot, &evaluate.model) {
            (None, _) => Err(NEEDS_SNAPSHOT.into()),
            (Some(_), None) => Err(NEEDS_MODEL.into()),
            (Some(_), Some(_)) => Ok(()),
        },
        Spec::Explain(explain) if explain.image_ids.is_empty() => Err(missing("images")),
        Spec::Explain(explain) => explain.model.as_ref().map(drop).ok_or_else(|| NEEDS_MODEL.into()),
        Spec::Deploy(deploy) => named("endpoint", &deploy.endpoint)
            .and_then(|()| deploy.model.as_ref().map(drop).ok_or_else(|| NEEDS_MODEL.into())),
        Spec::SgdLab(_) | Spec::Probe(_) => Ok(()),
    }
}

fn missing(key: &str) -> String {
    format!("the key {key:?} is missing")
}

fn read_list(name: String, list: UrlList, folder: &Path) -> Result<v1::ClassUrls, String> {
    let file = match list {
        UrlList::Urls(urls) => return Ok(v1::ClassUrls { name, list_name: "in the pipeline file".into(), urls }),
        UrlList::File(file) => file,
    };
    let path = folder.join(&file);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}, the URL list of class {name:?}: {error}", path.display()))?;
    let urls = text.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect();
    let list_name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    Ok(v1::ClassUrls { name, list_name, urls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_default_is_asked_for() {
        let cases = [
            ("{}", "\"kind\" is missing"),
            ("{kind: verify}", "\"dataset\" is missing"),
            ("{kind: scrape, dataset: bears}", "\"classes\" is missing"),
            ("{kind: train}", "needs either `snapshot_from: JOB`"),
            ("{kind: train, snapshot: bears, snapshot_from: freeze}", "needs either `snapshot_from: JOB`"),
            ("{kind: evaluate, model_from: train}", "needs either `snapshot_from: JOB`"),
            ("{kind: evaluate, snapshot: bears@4}", "needs either `model_from: JOB`"),
            ("{kind: evaluate, snapshot: bears, snapshot_from: s, model: cafe}", "needs either `snapshot_from: JOB`"),
            ("{kind: evaluate, snapshot: bears, model: cafe, model_from: train}", "needs either `model_from: JOB`"),
            ("{kind: deploy, model_from: train}", "\"endpoint\" is missing"),
            ("{kind: deploy, endpoint: bears}", "needs either `model_from: JOB`"),
        ];
        for (yaml, missing) in cases {
            let entry: JobEntry = serde_saphyr::from_str(yaml).unwrap();
            let reason = entry.into_definition("job", Path::new(".")).unwrap_err();
            assert!(reason.contains(missing), "{yaml}: {reason}");
        }
    }
}
