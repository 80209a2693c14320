//! A pipeline that was submitted once, as one that can be submitted again with changes.

use std::time::Duration;

use ursa_domain::JobSpec;
use ursa_domain::policy::JobPolicy;
use ursa_domain::spec::{ModelRef, ScrapeSpec};
use ursa_proto::v1;
use v1::job_definition::Spec;

use super::PipelineFileError;

/// The request that would make `pipeline` anew, from what the coordinator tells of each of its jobs. Later jobs take over
/// what earlier ones made, where their inputs are the same.
pub fn submitted(pipeline: &v1::Pipeline, details: &[v1::JobDetail]) -> Result<v1::PipelineSpec, PipelineFileError> {
    let mut jobs = Vec::with_capacity(details.len());
    for detail in details {
        let job = detail.job.clone().unwrap_or_default();
        let bad = |reason| PipelineFileError::NotRepeatable { job: job.name.clone(), reason };
        jobs.push(definition(pipeline, &job, detail).map_err(bad)?);
    }
    Ok(v1::PipelineSpec { name: pipeline.name.clone(), jobs, project: pipeline.project.clone(), reuse: true })
}

fn definition(pipeline: &v1::Pipeline, job: &v1::Job, detail: &v1::JobDetail) -> Result<v1::JobDefinition, String> {
    let unreadable = |what: &str, error: serde_json::Error| {
        format!("the coordinator tells its {what} in a form that this version does not understand: {error}")
    };
    let spec: JobSpec = serde_json::from_str(&detail.spec_json).map_err(|error| unreadable("specification", error))?;
    let policy: JobPolicy = serde_json::from_str(&detail.policy_json).map_err(|error| unreadable("policy", error))?;
    let inputs: Vec<String> = spec.inputs().into_iter().map(|(name, _)| name.to_owned()).collect();
    let named = |id: &String| pipeline.jobs.iter().find(|other| other.id == *id).map(|other| other.name.clone());
    let after = job.depends_on.iter().filter_map(named).filter(|name| !inputs.contains(name)).collect();
    let job = v1::JobDefinition { name: job.name.clone(), after, ..with_policy(policy)? };
    Ok(v1::JobDefinition { spec: Some(message(spec)?), ..job })
}

fn with_policy(policy: JobPolicy) -> Result<v1::JobDefinition, String> {
    let deadlines = policy.deadlines;
    let resources = policy.resources;
    Ok(v1::JobDefinition {
        max_attempts: policy.max_attempts,
        backoff: Some(v1::Backoff {
            first: span(Some(policy.backoff.base))?,
            longest: span(Some(policy.backoff.cap))?,
        }),
        min_success_ratio: policy.min_success_ratio,
        parallelism: policy.parallelism.unwrap_or_default(),
        deadlines: Some(v1::Deadlines {
            queue_wait: span(deadlines.queue_wait)?,
            run: span(deadlines.run)?,
            no_progress: span(deadlines.no_progress)?,
            total: span(deadlines.total)?,
        }),
        priority: u32::try_from(policy.priority).ok(),
        preemptible: policy.preemptible,
        fresh: policy.fresh,
        resources: Some(v1::Resources {
            gpus: resources.gpus,
            gpu_memory_bytes: resources.gpu_memory_bytes,
            gpu_models: resources.gpu_models,
            min_driver: resources.min_driver,
            shared: resources.shared,
            labels: resources.labels,
            avoid_labels: resources.avoid_labels,
        }),
        workers: policy.workers,
        condition: policy.condition.to_string(),
        ..v1::JobDefinition::default()
    })
}

fn span(span: Option<Duration>) -> Result<Option<prost_types::Duration>, String> {
    span.map(|span| span.try_into().map_err(|_| format!("{span:?} is longer than can be said"))).transpose()
}

fn message(spec: JobSpec) -> Result<Spec, String> {
    Ok(match spec {
        JobSpec::Scrape(scrape) => Spec::Scrape(scrape_message(scrape)?),
        JobSpec::Verify(verify) => Spec::Verify((&verify).into()),
        JobSpec::Snapshot(snapshot) => Spec::Snapshot(v1::SnapshotSpec {
            dataset: snapshot.dataset,
            seed: snapshot.seed,
            valid_percent: snapshot.valid_percent,
        }),
        JobSpec::FindLr(find_lr) => Spec::FindLr((&find_lr).into()),
        JobSpec::Search(search) => Spec::Search((&search).into()),
        JobSpec::Evaluate(evaluate) => Spec::Evaluate((&evaluate).into()),
        JobSpec::Explain(explain) => Spec::Explain((&explain).into()),
        JobSpec::Train(train) => Spec::Train((&train).into()),
        JobSpec::SgdLab(lab) => Spec::SgdLab((&lab).into()),
        JobSpec::Deploy(deploy) => Spec::Deploy(v1::DeploySpec {
            endpoint: deploy.endpoint,
            model: Some(match deploy.model {
                ModelRef::FromJob(job) => v1::deploy_spec::Model::ModelFromJob(job),
                ModelRef::Digest(digest) => v1::deploy_spec::Model::ModelDigest(digest),
            }),
            timeout_seconds: deploy.timeout_seconds,
        }),
        JobSpec::Probe(probe) => {
            Spec::Probe(v1::ProbeSpec { tasks: probe.tasks, duration_ms: probe.duration_ms, failures: probe.failures })
        }
    })
}

fn scrape_message(scrape: ScrapeSpec) -> Result<v1::ScrapeSpec, String> {
    if !scrape.retry_sources.is_empty() {
        return Err("it fetched URLs that had failed once more; it can be run again as it is, but not changed".into());
    }
    let class = |class: ursa_domain::spec::ClassUrls| v1::ClassUrls {
        name: class.name,
        list_name: class.list_name,
        urls: class.urls,
    };
    Ok(v1::ScrapeSpec {
        dataset: scrape.dataset,
        classes: scrape.classes.into_iter().map(class).collect(),
        max_images_per_class: scrape.options.max_images_per_class,
        urls_per_task: scrape.options.urls_per_task,
        concurrency: scrape.options.concurrency,
        timeout_ms: scrape.options.timeout_ms,
        max_bytes: scrape.options.max_bytes,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ursa_domain::pipeline::PipelineSpec;

    use super::super::parse;
    use super::*;

    const YAML: &str = "
pipeline: bears
project: zoo
reuse: true
jobs:
  scrape: {kind: scrape, dataset: bears, classes: {teddy: [http://a/1]}, timeout_ms: 3000, parallelism: 4}
  verify: {kind: verify, dataset: bears, after: [scrape], min_success_ratio: 0.9, backoff: {first: 2s}}
  snapshot: {kind: snapshot, dataset: bears, seed: 0, after: [verify]}
  train:
    kind: train
    snapshot_from: snapshot
    weight_decay: 0
    augment: false
    deadlines: {run: 2h, no_progress: 5m}
    resources: {gpus: 0, min_driver: '550.54', labels: {zone: cellar}}
    preemptible: true
    fresh: true
    priority: 0
  old: {kind: train, snapshot: bears@3, after: [train]}
  newer: {kind: evaluate, snapshot: bears@4, model_from: train, after: [old]}
  why: {kind: explain, model_from: train, images: [0193a1b2-c3d4-7e5f-8a6b-123456789abc], of: {class: teddy}}
  deploy: {kind: deploy, endpoint: bears, model_from: train, after: [old]}
  report: {kind: probe, tasks: 2, duration_ms: 5, failures: 1, workers: 2, after: [deploy], condition: always}
";

    /// What the coordinator would tell of it.
    fn told(spec: &PipelineSpec) -> (v1::Pipeline, Vec<v1::JobDetail>) {
        let id = |name: &str| format!("id-of-{name}");
        let job = |job: &ursa_domain::pipeline::JobDefinition| v1::Job {
            id: id(&job.name),
            name: job.name.clone(),
            depends_on: job.dependencies().into_iter().map(id).collect(),
            ..v1::Job::default()
        };
        let detail = |definition| v1::JobDetail {
            job: Some(job(definition)),
            spec_json: serde_json::to_string(&definition.spec).unwrap(),
            policy_json: serde_json::to_string(&definition.policy).unwrap(),
            ..v1::JobDetail::default()
        };
        let jobs = spec.jobs.iter().map(job).collect();
        let pipeline =
            v1::Pipeline { name: spec.name.clone(), project: spec.project.clone(), jobs, ..v1::Pipeline::default() };
        (pipeline, spec.jobs.iter().map(detail).collect())
    }

    #[test]
    fn nothing_is_lost_on_the_way_back() {
        let spec = PipelineSpec::try_from(parse(YAML, Path::new("bears.yaml")).unwrap()).unwrap();
        let (pipeline, details) = told(&spec);
        assert_eq!(PipelineSpec::try_from(submitted(&pipeline, &details).unwrap()), Ok(spec));
    }

    #[test]
    fn a_repeated_fetch_cannot_be_said_anew() {
        let mut spec = PipelineSpec::try_from(parse(YAML, Path::new("bears.yaml")).unwrap()).unwrap();
        let JobSpec::Scrape(scrape) = &mut spec.jobs[0].spec else { panic!("the first job scrapes") };
        scrape.retry_sources.push(uuid::Uuid::nil());
        let (pipeline, details) = told(&spec);
        let error = submitted(&pipeline, &details).unwrap_err().to_string();
        assert!(error.contains("job \"scrape\"") && error.contains("as it is"), "{error}");
    }
}
