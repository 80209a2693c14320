//! Pipeline files: YAML that people write, read into the request the coordinator takes.
//!
//! URL lists are read here, relative to the file that names them; the coordinator never sees a path. Everything wrong is
//! said with its place: file, line and column where the YAML has one, the job and the key otherwise.

mod change;
mod job;
mod policy;
mod submitted;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use ursa_domain::pipeline::{self, nearest};
use ursa_proto::v1;

pub use change::change;
pub use submitted::submitted;

use job::JobEntry;

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
    /// A change that cannot be made; see [`change`].
    #[error("cannot change {change}: {reason}")]
    BadChange {
        /// As it was given.
        change: String,
        /// What is wrong and what was probably meant.
        reason: String,
    },
    /// What a submitted pipeline consists of cannot be said in a new one; see [`submitted`].
    #[error("job {job:?}: {reason}")]
    NotRepeatable {
        /// Which job.
        job: String,
        /// Why not.
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
    let spec = v1::PipelineSpec { name: file.pipeline, jobs, project: file.project, reuse: file.reuse };
    check(&spec).map_err(invalid)?;
    Ok(spec)
}

/// What the coordinator would refuse, whatever its state.
fn check(spec: &v1::PipelineSpec) -> Result<(), String> {
    let domain = pipeline::PipelineSpec::try_from(spec.clone()).map_err(|bad| bad.to_string())?;
    pipeline::check(&domain).map_err(|error| error.to_string())
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
        error => {
            let text = error.to_string();
            // The place is said in front of it, or means nothing to whoever typed a single word.
            text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned()
        }
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
    #[serde(default)]
    project: String,
    #[serde(default)]
    reuse: bool,
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

    const EVERY_KEY: &str = "
pipeline: probe
project: zoo
reuse: true
jobs:
  probe:
    kind: probe
    tasks: 4
    duration_ms: 250
    failures: 1
    max_attempts: 5
    backoff: {first: 2s, longest: 5m}
    min_success_ratio: 0.95
    parallelism: 8
    deadlines: {queue_wait: 1h, run: 1h 30m, no_progress: 90s, total: 1day}
    priority: 7
    preemptible: true
    fresh: true
    resources:
      gpus: 2
      gpu_memory: 40GiB
      gpu_models: [H100, A100]
      min_driver: 550.54
      shared: true
      labels: {zone: cellar}
      avoid_labels: {spot: ''}
    workers: 4
    condition: always
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
    fn every_key_of_a_job_arrives() {
        let spec = parse(EVERY_KEY, Path::new("probe.yaml")).unwrap();
        assert_eq!((spec.project.as_str(), spec.reuse), ("zoo", true));
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let job = v1::JobDefinition {
            name: "probe".into(),
            after: Vec::new(),
            max_attempts: 5,
            backoff: Some(v1::Backoff { first: seconds(2), longest: seconds(300) }),
            min_success_ratio: 0.95,
            parallelism: 8,
            deadlines: Some(v1::Deadlines {
                queue_wait: seconds(3600),
                run: seconds(5400),
                no_progress: seconds(90),
                total: seconds(86_400),
            }),
            priority: Some(7),
            preemptible: true,
            fresh: true,
            resources: Some(v1::Resources {
                gpus: Some(2),
                gpu_memory_bytes: 40 << 30,
                gpu_models: vec!["H100".into(), "A100".into()],
                min_driver: "550.54".into(),
                shared: true,
                labels: [("zone".into(), "cellar".into())].into(),
                avoid_labels: [("spot".into(), String::new())].into(),
            }),
            workers: 4,
            condition: "always".into(),
            spec: Some(v1::job_definition::Spec::Probe(v1::ProbeSpec { tasks: 4, duration_ms: 250, failures: 1 })),
        };
        assert_eq!(spec.jobs, [job]);
    }

    #[test]
    fn unknown_keys_inside_a_job_are_refused_too() {
        for (right, wrong) in [
            ("queue_wait", "queue_wiat"),
            ("longest", "longst"),
            ("gpu_memory", "gpu_memry"),
            ("always", "alwais"),
            ("kind: probe", "kind: prode"),
            ("reuse", "resue"),
        ] {
            let text = error(&EVERY_KEY.replace(right, wrong));
            let meant = right.split(' ').next_back().unwrap();
            assert!(text.contains(&format!("did you mean {meant:?}?")) && text.contains("bears.yaml:"), "{text}");
        }
    }

    #[test]
    fn times_and_sizes_need_their_unit() {
        let text = error(&EVERY_KEY.replace("1h 30m", "90"));
        assert!(text.contains("bears.yaml:15:38: \"90\" is no length of time"), "{text}");
        assert!(text.contains("1h 30m") && !text.contains("at line"), "{text}");
        let text = error(&EVERY_KEY.replace("40GiB", "40 bananas"));
        assert!(text.contains("\"40 bananas\" is no size") && text.contains("40GiB"), "{text}");
    }

    #[test]
    fn a_policy_that_cannot_be_is_named_with_its_job() {
        let text = error(&EVERY_KEY.replace("0.95", "1.5"));
        assert!(text.contains("job \"probe\": min_success_ratio is 1.5"), "{text}");
    }

    #[test]
    fn the_examples_are_what_they_show() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/pipelines");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            names.push(load(&entry.unwrap().path()).unwrap().name);
        }
        assert!(names.contains(&"nightly".to_owned()), "{names:?}");
    }
}
