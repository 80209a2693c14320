//! One job of a pipeline file: its keys, and what becomes of them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
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
    Train,
    Deploy,
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
    // snapshot and train
    seed: Option<u64>,
    // snapshot
    valid_percent: Option<u32>,
    // train
    snapshot: Option<String>,
    snapshot_from: Option<String>,
    architecture: Option<String>,
    epochs: Option<u32>,
    frozen_epochs: Option<u32>,
    batch_size: Option<u32>,
    image_size: Option<u32>,
    max_learning_rate: Option<f64>,
    weight_decay: Option<f64>,
    augment: Option<bool>,
    pretrained: Option<Pretrained>,
    // deploy
    endpoint: Option<String>,
    model: Option<String>,
    model_from: Option<String>,
    timeout_seconds: Option<u32>,
    // probe
    tasks: Option<u32>,
    duration_ms: Option<u64>,
    failures: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pretrained {
    location: String,
    sha256: String,
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
            Spec::Train(_) => Self::Train,
            Spec::Deploy(_) => Self::Deploy,
            Spec::Probe(_) => Self::Probe,
        }
    }

    /// A specification of which nothing is said yet.
    fn empty(self) -> Spec {
        match self {
            Self::Scrape => Spec::Scrape(v1::ScrapeSpec::default()),
            Self::Verify => Spec::Verify(v1::VerifySpec::default()),
            Self::Snapshot => Spec::Snapshot(v1::SnapshotSpec { seed: 42, ..v1::SnapshotSpec::default() }),
            Self::Train => Spec::Train(v1::TrainSpec::default()),
            Self::Deploy => Spec::Deploy(v1::DeploySpec::default()),
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
            Spec::Train(train) => entry.apply_train(train)?,
            Spec::Deploy(deploy) => entry.apply_deploy(deploy)?,
            Spec::Probe(probe) => entry.apply_probe(probe),
        }
        job.spec = Some(spec);
        Ok(())
    }

    /// A key that the job's kind does not know would be ignored silently otherwise.
    fn refuse_keys_of_other_kinds(&self, kind: Kind) -> Result<(), String> {
        use Kind::{Deploy, Probe, Scrape, Snapshot, Train, Verify};
        let keys: [(&str, bool, &[Kind]); 31] = [
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
            ("seed", self.seed.is_some(), &[Snapshot, Train]),
            ("valid_percent", self.valid_percent.is_some(), &[Snapshot]),
            ("snapshot", self.snapshot.is_some(), &[Train]),
            ("snapshot_from", self.snapshot_from.is_some(), &[Train]),
            ("architecture", self.architecture.is_some(), &[Train]),
            ("epochs", self.epochs.is_some(), &[Train]),
            ("frozen_epochs", self.frozen_epochs.is_some(), &[Train]),
            ("batch_size", self.batch_size.is_some(), &[Train]),
            ("image_size", self.image_size.is_some(), &[Train]),
            ("max_learning_rate", self.max_learning_rate.is_some(), &[Train]),
            ("weight_decay", self.weight_decay.is_some(), &[Train]),
            ("augment", self.augment.is_some(), &[Train]),
            ("pretrained", self.pretrained.is_some(), &[Train]),
            ("endpoint", self.endpoint.is_some(), &[Deploy]),
            ("model", self.model.is_some(), &[Deploy]),
            ("model_from", self.model_from.is_some(), &[Deploy]),
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

    fn apply_train(self, train: &mut v1::TrainSpec) -> Result<(), String> {
        use v1::train_spec::Snapshot;
        match (self.snapshot_from, self.snapshot) {
            (None, None) => {}
            (Some(job), None) => train.snapshot = Some(Snapshot::SnapshotFromJob(job)),
            (None, Some(name)) => train.snapshot = Some(Snapshot::SnapshotName(snapshot_name(&name)?)),
            (Some(_), Some(_)) => return Err(NEEDS_SNAPSHOT.into()),
        }
        let recipe = train.recipe.get_or_insert_default();
        set(&mut recipe.architecture, self.architecture);
        set(&mut recipe.epochs, self.epochs);
        set(&mut recipe.frozen_epochs, self.frozen_epochs);
        set(&mut recipe.batch_size, self.batch_size);
        set(&mut recipe.image_size, self.image_size);
        set(&mut recipe.max_learning_rate, self.max_learning_rate);
        recipe.weight_decay = self.weight_decay.or(recipe.weight_decay);
        recipe.augment = self.augment.or(recipe.augment);
        recipe.seed = self.seed.or(recipe.seed);
        if let Some(weights) = self.pretrained {
            recipe.pretrained = Some(v1::PretrainedWeights { location: weights.location, sha256: weights.sha256 });
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

const NEEDS_SNAPSHOT: &str = "needs either `snapshot_from: JOB` or `snapshot: DATASET@NUMBER`";
const NEEDS_MODEL: &str = "needs either `model_from: JOB` or `model: DIGEST`";

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
        Spec::Train(train) => train.snapshot.as_ref().map(drop).ok_or_else(|| NEEDS_SNAPSHOT.into()),
        Spec::Deploy(deploy) => named("endpoint", &deploy.endpoint)
            .and_then(|()| deploy.model.as_ref().map(drop).ok_or_else(|| NEEDS_MODEL.into())),
        Spec::Probe(_) => Ok(()),
    }
}

fn missing(key: &str) -> String {
    format!("the key {key:?} is missing")
}

/// `bears@3`, or `bears` for the latest.
fn snapshot_name(text: &str) -> Result<v1::SnapshotName, String> {
    let (dataset, number) = match text.split_once('@') {
        None => (text, 0),
        Some((dataset, number)) => {
            let number = number.parse().ok().filter(|number| *number > 0);
            (dataset, number.ok_or_else(|| format!("{text:?} names no snapshot; examples: bears@3, bears"))?)
        }
    };
    Ok(v1::SnapshotName { dataset: dataset.to_owned(), number })
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
    fn snapshots_are_named_with_or_without_a_number() {
        assert_eq!(snapshot_name("bears@3").unwrap().number, 3);
        assert_eq!(snapshot_name("bears").unwrap().number, 0);
        assert!(snapshot_name("bears@0").is_err() && snapshot_name("bears@x").is_err());
    }

    #[test]
    fn what_has_no_default_is_asked_for() {
        let cases = [
            ("{}", "\"kind\" is missing"),
            ("{kind: verify}", "\"dataset\" is missing"),
            ("{kind: scrape, dataset: bears}", "\"classes\" is missing"),
            ("{kind: train}", "needs either `snapshot_from: JOB`"),
            ("{kind: train, snapshot: bears, snapshot_from: freeze}", "needs either `snapshot_from: JOB`"),
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
