//! Pipeline files: YAML that people write, read into the request the coordinator takes.
//!
//! URL lists are read here, relative to the file that names them; the coordinator never sees a path. Everything wrong is
//! said with its place: file, line and column where the YAML has one, the job and the key otherwise.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use ursa_domain::pipeline::{self, nearest};
use ursa_proto::v1;

/// Why a pipeline file is refused.
#[derive(Debug, thiserror::Error)]
pub enum PipelineFileError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// YAML, or our form of it, broken at a place.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// What is wrong and what was probably meant.
        reason: String,
    },
    /// A job that cannot be what it says.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Which job, what is wrong and what to do.
        reason: String,
    },
}

/// Reads a pipeline file and the URL lists it names, and checks all that can be checked without the coordinator.
pub fn load(path: &Path) -> Result<v1::PipelineSpec, PipelineFileError> {
    let yaml = std::fs::read_to_string(path)
        .map_err(|error| PipelineFileError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
    parse(&yaml, path)
}

/// As [`load`], from text; `path` is for messages and for finding the URL lists.
pub fn parse(yaml: &str, path: &Path) -> Result<v1::PipelineSpec, PipelineFileError> {
    let file: PipelineFile = serde_saphyr::from_str(yaml).map_err(|error| malformed(path, &error))?;
    let invalid = |reason: String| PipelineFileError::Invalid { path: path.to_owned(), reason };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut jobs = Vec::with_capacity(file.jobs.0.len());
    for (name, job) in file.jobs.0 {
        let definition = job.into_definition(&name, folder);
        jobs.push(definition.map_err(|reason| invalid(format!("job {name:?}: {reason}")))?);
    }
    let spec = v1::PipelineSpec { name: file.pipeline, jobs };
    let domain = pipeline::PipelineSpec::try_from(spec.clone()).map_err(|bad| invalid(bad.to_string()))?;
    pipeline::check(&domain).map_err(|error| invalid(error.to_string()))?;
    Ok(spec)
}

fn malformed(path: &Path, error: &serde_saphyr::Error) -> PipelineFileError {
    let error = error.without_snippet();
    let location = error.location();
    let (line, column) = location.map_or((1, 1), |location| (location.line(), location.column()));
    PipelineFileError::Malformed { path: path.to_owned(), line, column, reason: explain(error) }
}

fn explain(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            unknown("key", field, expected.iter().copied())
        }
        serde_saphyr::Error::SerdeUnknownVariant { variant, expected, .. } => {
            unknown("word", variant, expected.iter().copied())
        }
        error => error.to_string(),
    }
}

fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("unknown {what} {word:?}; did you mean {near:?}?"),
        None => format!("unknown {what} {word:?}; known are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineFile {
    pipeline: String,
    jobs: Ordered<JobEntry>,
}

/// A mapping that keeps its order: that of the classes is the order of a model's outputs.
struct Ordered<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Scrape,
    Verify,
    Snapshot,
    Train,
    Deploy,
}

/// One job: the keys of every kind, so that a misspelt one is found where it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobEntry {
    kind: Kind,
    #[serde(default)]
    after: Vec<String>,
    #[serde(default)]
    max_attempts: u32,
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

impl JobEntry {
    fn into_definition(self, name: &str, folder: &Path) -> Result<v1::JobDefinition, String> {
        use v1::job_definition::Spec;
        self.refuse_keys_of_other_kinds()?;
        let (after, max_attempts) = (self.after.clone(), self.max_attempts);
        let spec = match self.kind {
            Kind::Scrape => Spec::Scrape(self.scrape(folder)?),
            Kind::Verify => Spec::Verify(self.verify()?),
            Kind::Snapshot => Spec::Snapshot(self.freeze()?),
            Kind::Train => Spec::Train(self.train()?),
            Kind::Deploy => Spec::Deploy(self.deploy()?),
        };
        Ok(v1::JobDefinition { name: name.to_owned(), after, max_attempts, spec: Some(spec) })
    }

    /// A key that the job's kind does not know would be ignored silently otherwise.
    fn refuse_keys_of_other_kinds(&self) -> Result<(), String> {
        use Kind::{Deploy, Scrape, Snapshot, Train, Verify};
        let keys: [(&str, bool, &[Kind]); 28] = [
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
        ];
        let stray = keys.iter().find(|(_, given, kinds)| *given && !kinds.contains(&self.kind));
        stray.map_or(Ok(()), |(key, ..)| Err(format!("{key:?} is not a key of this kind of job")))
    }

    fn dataset(&self) -> Result<String, String> {
        self.dataset.clone().ok_or_else(|| missing("dataset"))
    }

    fn scrape(self, folder: &Path) -> Result<v1::ScrapeSpec, String> {
        let dataset = self.dataset()?;
        let classes = self.classes.ok_or_else(|| missing("classes"))?;
        Ok(v1::ScrapeSpec {
            dataset,
            classes: classes
                .0
                .into_iter()
                .map(|(name, list)| read_list(name, list, folder))
                .collect::<Result<_, _>>()?,
            max_images_per_class: self.max_images_per_class.unwrap_or_default(),
            urls_per_task: self.urls_per_task.unwrap_or_default(),
            concurrency: self.concurrency.unwrap_or_default(),
            timeout_ms: self.timeout_ms.unwrap_or_default(),
            max_bytes: self.max_bytes.unwrap_or_default(),
        })
    }

    fn verify(self) -> Result<v1::VerifySpec, String> {
        Ok(v1::VerifySpec {
            dataset: self.dataset()?,
            max_side: self.max_side.unwrap_or_default(),
            min_side: self.min_side.unwrap_or_default(),
            max_pixels: self.max_pixels.unwrap_or_default(),
            max_frames: self.max_frames.unwrap_or_default(),
        })
    }

    fn freeze(self) -> Result<v1::SnapshotSpec, String> {
        Ok(v1::SnapshotSpec {
            dataset: self.dataset()?,
            seed: self.seed.unwrap_or(42),
            valid_percent: self.valid_percent.unwrap_or_default(),
        })
    }

    fn train(self) -> Result<v1::TrainSpec, String> {
        use v1::train_spec::Snapshot;
        let snapshot = match (self.snapshot_from, self.snapshot) {
            (Some(job), None) => Snapshot::SnapshotFromJob(job),
            (None, Some(name)) => Snapshot::SnapshotName(snapshot_name(&name)?),
            _ => return Err("needs either `snapshot_from: JOB` or `snapshot: DATASET@NUMBER`".into()),
        };
        let recipe = v1::TrainRecipe {
            architecture: self.architecture.unwrap_or_default(),
            epochs: self.epochs.unwrap_or_default(),
            frozen_epochs: self.frozen_epochs.unwrap_or_default(),
            batch_size: self.batch_size.unwrap_or_default(),
            image_size: self.image_size.unwrap_or_default(),
            max_learning_rate: self.max_learning_rate.unwrap_or_default(),
            weight_decay: self.weight_decay,
            augment: self.augment,
            seed: self.seed,
            pretrained: self
                .pretrained
                .map(|weights| v1::PretrainedWeights { location: weights.location, sha256: weights.sha256 }),
        };
        Ok(v1::TrainSpec { snapshot: Some(snapshot), recipe: Some(recipe) })
    }

    fn deploy(self) -> Result<v1::DeploySpec, String> {
        use v1::deploy_spec::Model;
        let model = match (self.model_from, self.model) {
            (Some(job), None) => Model::ModelFromJob(job),
            (None, Some(digest)) => Model::ModelDigest(digest),
            _ => return Err("needs either `model_from: JOB` or `model: DIGEST`".into()),
        };
        Ok(v1::DeploySpec {
            endpoint: self.endpoint.ok_or_else(|| missing("endpoint"))?,
            model: Some(model),
            timeout_seconds: self.timeout_seconds.unwrap_or_default(),
        })
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

    const BEARS: &str = "
pipeline: bears
jobs:
  scrape:
    kind: scrape
    dataset: bears
    classes:
      teddy: urls_teddys.txt
      black: [http://example.org/1.jpg]
    max_images_per_class: 200
  verify: {kind: verify, dataset: bears, after: [scrape]}
  snapshot: {kind: snapshot, dataset: bears, after: [verify]}
  train: {kind: train, snapshot_from: snapshot, architecture: resnet18, epochs: 12, weight_decay: 0}
  deploy: {kind: deploy, endpoint: bears, model_from: train}
";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("urls_teddys.txt"), "http://a\r\n\nhttp://b\n").unwrap();
        folder
    }

    fn error(yaml: &str) -> String {
        let folder = folder();
        parse(yaml, &folder.path().join("bears.yaml")).unwrap_err().to_string()
    }

    #[test]
    fn a_file_becomes_the_request() {
        let folder = folder();
        let spec = parse(BEARS, &folder.path().join("bears.yaml")).unwrap();
        let names: Vec<_> = spec.jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, ["scrape", "verify", "snapshot", "train", "deploy"], "jobs keep their order");
        let Some(v1::job_definition::Spec::Scrape(scrape)) = &spec.jobs[0].spec else { panic!("{spec:?}") };
        assert_eq!(scrape.classes[0].urls, ["http://a", "", "http://b"], "lines keep their numbers");
        assert_eq!(
            (scrape.classes[0].list_name.as_str(), scrape.classes[1].name.as_str()),
            ("urls_teddys.txt", "black")
        );
        let Some(v1::job_definition::Spec::Train(train)) = &spec.jobs[3].spec else { panic!("{spec:?}") };
        assert_eq!(train.recipe.as_ref().unwrap().weight_decay, Some(0.0), "zero is not the default");
    }

    #[test]
    fn broken_yaml_is_shown_with_line_and_column() {
        let text = error("pipeline: bears\njobs:\n  scrape: [\n");
        assert!(text.contains("bears.yaml:") && !text.contains("bears.yaml:1:1"), "{text}");
    }

    #[test]
    fn an_unknown_key_names_the_nearest_one_and_its_place() {
        let text = error(&BEARS.replace("max_images_per_class", "max_image_per_class"));
        assert!(text.contains("bears.yaml:10:5") && text.contains("did you mean \"max_images_per_class\"?"), "{text}");
    }

    #[test]
    fn an_unknown_kind_names_the_nearest_one() {
        let text = error(&BEARS.replace("kind: verify", "kind: verfy"));
        assert!(text.contains("did you mean \"verify\"?"), "{text}");
    }

    #[test]
    fn a_key_of_another_kind_is_not_ignored() {
        let text = error(&BEARS.replace("model_from: train", "model_from: train, epochs: 3"));
        assert!(text.contains("job \"deploy\": \"epochs\" is not a key of this kind of job"), "{text}");
    }

    #[test]
    fn a_missing_list_is_named_with_its_class_and_folder() {
        let text = error(&BEARS.replace("urls_teddys.txt", "urls_tedys.txt"));
        assert!(text.contains("urls_tedys.txt, the URL list of class \"teddy\""), "{text}");
    }

    #[test]
    fn what_the_coordinator_would_refuse_is_refused_here() {
        let text = error(&BEARS.replace("after: [scrape]", "after: [snapshot]"));
        assert!(text.contains("in a circle: verify → snapshot → verify"), "{text}");
        let text = error(&BEARS.replace("[http://example.org/1.jpg]", "[]"));
        assert!(text.contains("is empty"), "{text}");
    }

    #[test]
    fn snapshots_are_named_with_or_without_a_number() {
        assert_eq!(snapshot_name("bears@3").unwrap().number, 3);
        assert_eq!(snapshot_name("bears").unwrap().number, 0);
        assert!(snapshot_name("bears@0").is_err() && snapshot_name("bears@x").is_err());
    }
}
