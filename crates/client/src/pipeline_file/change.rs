//! Changes to single members of a pipeline, in the words of pipeline files: `train.epochs=12`.

use std::path::Path;

use ursa_domain::pipeline::nearest;
use ursa_proto::v1;

use super::job::JobEntry;
use super::{PipelineFileError, check, explain};

/// Makes changes of the form `JOB.KEY=VALUE` to a pipeline and checks what comes of them. Keys and values are those of
/// pipeline files, with dots where a key is inside another: `train.resources.gpus=2`. URL lists are found relative to the
/// folder the program runs in.
pub fn change(spec: &mut v1::PipelineSpec, changes: &[String]) -> Result<(), PipelineFileError> {
    for change in changes {
        let bad = |reason| PipelineFileError::BadChange { change: change.clone(), reason };
        apply(spec, change).and_then(|()| check(spec)).map_err(bad)?;
    }
    Ok(())
}

fn apply(spec: &mut v1::PipelineSpec, change: &str) -> Result<(), String> {
    let (path, value) = change.split_once('=').ok_or("it has the form JOB.KEY=VALUE, for instance train.epochs=12")?;
    let (job, keys) = find(&mut spec.jobs, path)?;
    let entry: JobEntry =
        serde_saphyr::from_str(&nested(keys, value)).map_err(|error| explain(error.without_snippet()))?;
    entry.apply(job, Path::new("."))
}

/// The job that `path` begins with, and the rest. Names of jobs may have dots.
fn find<'a, 'b>(
    jobs: &'a mut [v1::JobDefinition],
    path: &'b str,
) -> Result<(&'a mut v1::JobDefinition, &'b str), String> {
    let rest = |name: &str| path.strip_prefix(name)?.strip_prefix('.').filter(|rest| !rest.is_empty());
    let found = jobs.iter().enumerate().filter(|(_, job)| rest(&job.name).is_some());
    let Some(place) = found.max_by_key(|(_, job)| job.name.len()).map(|(place, _)| place) else {
        return Err(no_job(jobs, path));
    };
    let job = &mut jobs[place];
    let keys = rest(&job.name).unwrap_or_default();
    Ok((job, keys))
}

fn no_job(jobs: &[v1::JobDefinition], path: &str) -> String {
    let names = || jobs.iter().map(|job| job.name.as_str());
    let name = path.split('.').next().unwrap_or_default();
    if names().any(|known| known == path) {
        return format!("it names no key of job {path:?}: write {path}.KEY=VALUE");
    }
    match nearest(name, names()) {
        Some(near) => format!("there is no job {name:?}; did you mean {near:?}?"),
        None => format!("there is no job {name:?}; there are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

/// `a.b` and a value as YAML.
fn nested(keys: &str, value: &str) -> String {
    let mut yaml = String::new();
    for (depth, key) in keys.split('.').enumerate() {
        if depth > 0 {
            yaml.push('\n');
        }
        yaml.push_str(&"  ".repeat(depth));
        yaml.push_str(key);
        yaml.push(':');
    }
    format!("{yaml} {value}\n")
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const YAML: &str = "
pipeline: bears
jobs:
  snapshot: {kind: snapshot, dataset: bears}
  train: {kind: train, snapshot_from: snapshot, epochs: 4, resources: {gpus: 1, labels: {zone: cellar}}}
  train.big: {kind: train, snapshot_from: snapshot}
";

    fn changed(changes: &[&str]) -> Result<v1::PipelineSpec, String> {
        let mut spec = parse(YAML, Path::new("bears.yaml")).unwrap();
        let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
        change(&mut spec, &changes).map_err(|error| error.to_string())?;
        Ok(spec)
    }

    fn epochs(job: &v1::JobDefinition) -> u32 {
        let Some(v1::job_definition::Spec::Train(train)) = &job.spec else { panic!("{job:?}") };
        train.recipe.as_ref().unwrap().epochs
    }

    #[test]
    fn only_what_is_named_changes() {
        let before = parse(YAML, Path::new("bears.yaml")).unwrap();
        let after = changed(&[
            "train.epochs=12",
            "train.deadlines.run=1h 30m",
            "train.resources.labels.disk=fast",
            "train.big.epochs=2",
        ])
        .unwrap();
        assert_eq!((epochs(&after.jobs[1]), epochs(&after.jobs[2])), (12, 2), "the longer name wins");
        let train = &after.jobs[1];
        assert_eq!(train.deadlines.unwrap().run.unwrap().seconds, 5400);
        let resources = train.resources.as_ref().unwrap();
        assert_eq!((resources.gpus, resources.labels.len()), (Some(1), 2), "what stands beside it stays");
        assert_eq!(after.jobs[0], before.jobs[0]);
    }

    #[test]
    fn what_cannot_be_changed_is_said_with_what_was_meant() {
        for (change, said) in [
            ("train.epchs=3", "did you mean \"epochs\"?"),
            ("trian.epochs=3", "there is no job \"trian\"; did you mean \"train\"?"),
            ("train.epochs", "JOB.KEY=VALUE"),
            ("train=3", "names no key of job \"train\""),
            ("train.dataset=bears", "not a key of this kind of job"),
            ("train.kind=probe", "cannot be changed"),
            ("train.epochs=many", "cannot change train.epochs=many: "),
            ("train.epochs=99999999", "epochs"),
            ("snapshot.after=[train]", "in a circle"),
            ("train.resources.gpu=2", "did you mean \"gpus\"?"),
        ] {
            let text = changed(&[change]).unwrap_err();
            assert!(text.contains(said), "{change}: {text}");
        }
    }
}
