//! Between messages and the values of `ursa-domain`: the one place where defaults of the wire (0, empty) are filled in.

mod evaluation;
mod explanation;
mod interpretation;
mod learning;
mod search;

use std::time::Duration;

use chrono::{DateTime, Utc};
use ursa_domain::pipeline::{DEFAULT_PROJECT, JobDefinition, PipelineSpec};
use ursa_domain::policy::{DEFAULT_PRIORITY, Deadlines, JobPolicy};
use ursa_domain::retry::Backoff;
use ursa_domain::scheduling::Resources;
use ursa_domain::spec::{
    ClassUrls, DeploySpec, ModelRef, ProbeSpec, ScrapeOptions, ScrapeSpec, SnapshotSpec, VerifyOptions, VerifySpec,
};
use ursa_domain::{ErrorClass, JobSpec, Lease};
use uuid::Uuid;

use crate::{ApiError, v1};

/// A message member that does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadField {
    /// The member, for instance `lease.task_id`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl BadField {
    fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl From<BadField> for ApiError {
    fn from(bad: BadField) -> Self {
        Self::invalid(bad.to_string())
    }
}

/// Reads a UUID of the member called `field`.
pub fn parse_id(field: &str, text: &str) -> Result<Uuid, BadField> {
    Uuid::try_parse(text).map_err(|_| BadField::new(field, format!("{text:?} is not an id (a UUID)")))
}

/// The wire's form of a point in time.
pub fn timestamp(at: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos() as i32 }
}

/// The point in time that a message names; `None` when there is none or it cannot be.
pub fn time(at: Option<&prost_types::Timestamp>) -> Option<DateTime<Utc>> {
    at.and_then(|at| DateTime::from_timestamp(at.seconds, at.nanos.try_into().ok()?))
}

fn duration(field: &str, value: Option<prost_types::Duration>) -> Result<Option<Duration>, BadField> {
    value.map(|value| Duration::try_from(value).map_err(|_| BadField::new(field, "is negative"))).transpose()
}

fn or_default<T: Default + PartialEq>(value: T, default: T) -> T {
    if value == T::default() { default } else { value }
}

fn required<T>(field: &str, value: Option<T>) -> Result<T, BadField> {
    value.ok_or_else(|| BadField::new(field, "is missing"))
}

impl From<Lease> for v1::Lease {
    fn from(lease: Lease) -> Self {
        Self { task_id: lease.task_id.to_string(), attempt: lease.attempt, token: lease.token.to_string() }
    }
}

impl TryFrom<&v1::Lease> for Lease {
    type Error = BadField;

    fn try_from(lease: &v1::Lease) -> Result<Self, BadField> {
        Ok(Self {
            task_id: parse_id("lease.task_id", &lease.task_id)?,
            attempt: lease.attempt,
            token: parse_id("lease.token", &lease.token)?,
        })
    }
}

impl From<ErrorClass> for v1::ErrorClass {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Retryable => Self::Retryable,
            ErrorClass::Fatal => Self::Fatal,
            ErrorClass::Infrastructure => Self::Infrastructure,
            ErrorClass::Cancelled => Self::Cancelled,
            ErrorClass::Fenced => Self::Fenced,
            ErrorClass::Deadline => Self::Deadline,
            ErrorClass::Returned => Self::Returned,
        }
    }
}

impl TryFrom<v1::ErrorClass> for ErrorClass {
    type Error = BadField;

    fn try_from(class: v1::ErrorClass) -> Result<Self, BadField> {
        match class {
            v1::ErrorClass::Unspecified => Err(BadField::new("class", "is missing")),
            v1::ErrorClass::Retryable => Ok(Self::Retryable),
            v1::ErrorClass::Fatal => Ok(Self::Fatal),
            v1::ErrorClass::Infrastructure => Ok(Self::Infrastructure),
            v1::ErrorClass::Cancelled => Ok(Self::Cancelled),
            v1::ErrorClass::Fenced => Ok(Self::Fenced),
            v1::ErrorClass::Deadline => Ok(Self::Deadline),
            v1::ErrorClass::Returned => Ok(Self::Returned),
        }
    }
}

impl TryFrom<v1::PipelineSpec> for PipelineSpec {
    type Error = BadField;

    fn try_from(spec: v1::PipelineSpec) -> Result<Self, BadField> {
        let jobs = spec.jobs.into_iter().map(JobDefinition::try_from).collect::<Result<_, _>>()?;
        let project = or_default(spec.project, DEFAULT_PROJECT.to_owned());
        Ok(Self { name: spec.name, project, reuse: spec.reuse, jobs })
    }
}

impl TryFrom<v1::JobDefinition> for JobDefinition {
    type Error = BadField;

    fn try_from(job: v1::JobDefinition) -> Result<Self, BadField> {
        let in_job = |bad: BadField| BadField::new(format!("jobs.{}.{}", job.name, bad.field), bad.reason);
        let spec = required("spec", job.spec.clone()).and_then(JobSpec::try_from).map_err(in_job)?;
        let policy = policy(&job).map_err(in_job)?;
        Ok(Self { name: job.name, after: job.after, policy, spec })
    }
}

fn policy(job: &v1::JobDefinition) -> Result<JobPolicy, BadField> {
    let default = JobPolicy::default();
    let waits = job.backoff.unwrap_or_default();
    let deadlines = job.deadlines.unwrap_or_default();
    Ok(JobPolicy {
        max_attempts: or_default(job.max_attempts, default.max_attempts),
        backoff: Backoff {
            base: duration("backoff.first", waits.first)?.unwrap_or(default.backoff.base),
            cap: duration("backoff.longest", waits.longest)?.unwrap_or(default.backoff.cap),
        },
        min_success_ratio: or_default(job.min_success_ratio, default.min_success_ratio),
        parallelism: Some(job.parallelism).filter(|parallelism| *parallelism > 0),
        deadlines: Deadlines {
            queue_wait: duration("deadlines.queue_wait", deadlines.queue_wait)?,
            run: duration("deadlines.run", deadlines.run)?,
            no_progress: duration("deadlines.no_progress", deadlines.no_progress)?,
            total: duration("deadlines.total", deadlines.total)?,
        },
        priority: job.priority.map_or(DEFAULT_PRIORITY, |priority| i32::try_from(priority).unwrap_or(i32::MAX)),
        preemptible: job.preemptible,
        fresh: job.fresh,
        resources: job.resources.clone().map(Resources::from).unwrap_or_default(),
        workers: or_default(job.workers, default.workers),
        condition: match job.condition.as_str() {
            "" => default.condition,
            word => word.parse().map_err(|_| {
                BadField::new("condition", format!("{word:?} is not known: use on_success, on_failure or always"))
            })?,
        },
    })
}

impl From<v1::Resources> for Resources {
    fn from(resources: v1::Resources) -> Self {
        Self {
            gpus: resources.gpus,
            gpu_memory_bytes: resources.gpu_memory_bytes,
            gpu_models: resources.gpu_models,
            min_driver: resources.min_driver,
            shared: resources.shared,
            labels: resources.labels,
            avoid_labels: resources.avoid_labels,
        }
    }
}

impl TryFrom<v1::job_definition::Spec> for JobSpec {
    type Error = BadField;

    fn try_from(spec: v1::job_definition::Spec) -> Result<Self, BadField> {
        use v1::job_definition::Spec;
        Ok(match spec {
            Spec::Scrape(scrape) => Self::Scrape(scrape.into()),
            Spec::Verify(verify) => Self::Verify(verify.into()),
            Spec::Snapshot(snapshot) => Self::Snapshot(snapshot.into()),
            Spec::FindLr(find_lr) => Self::FindLr(find_lr.try_into()?),
            Spec::Train(train) => Self::Train(train.try_into()?),
            Spec::Search(search) => Self::Search(search.try_into()?),
            Spec::Evaluate(evaluate) => Self::Evaluate(evaluate.try_into()?),
            Spec::Explain(explain) => Self::Explain(explain.try_into()?),
            Spec::Deploy(deploy) => Self::Deploy(deploy.try_into()?),
            Spec::SgdLab(lab) => Self::SgdLab(lab.into()),
            Spec::Probe(probe) => Self::Probe(ProbeSpec {
                tasks: or_default(probe.tasks, 1),
                duration_ms: probe.duration_ms,
                failures: probe.failures,
            }),
        })
    }
}

impl From<v1::ScrapeSpec> for ScrapeSpec {
    fn from(spec: v1::ScrapeSpec) -> Self {
        let default = ScrapeOptions::default();
        Self {
            dataset: spec.dataset,
            classes: spec
                .classes
                .into_iter()
                .map(|class| ClassUrls { name: class.name, list_name: class.list_name, urls: class.urls })
                .collect(),
            options: ScrapeOptions {
                max_images_per_class: or_default(spec.max_images_per_class, default.max_images_per_class),
                urls_per_task: or_default(spec.urls_per_task, default.urls_per_task),
                concurrency: or_default(spec.concurrency, default.concurrency),
                timeout_ms: or_default(spec.timeout_ms, default.timeout_ms),
                max_bytes: or_default(spec.max_bytes, default.max_bytes),
            },
            retry_sources: Vec::new(),
        }
    }
}

impl From<v1::VerifySpec> for VerifySpec {
    fn from(spec: v1::VerifySpec) -> Self {
        let default = VerifyOptions::default();
        Self {
            dataset: spec.dataset,
            options: VerifyOptions {
                max_side: or_default(spec.max_side, default.max_side),
                min_side: or_default(spec.min_side, default.min_side),
                max_pixels: or_default(spec.max_pixels, default.max_pixels),
                max_frames: or_default(spec.max_frames, default.max_frames),
            },
        }
    }
}

impl From<&VerifySpec> for v1::VerifySpec {
    fn from(spec: &VerifySpec) -> Self {
        Self {
            dataset: spec.dataset.clone(),
            max_side: spec.options.max_side,
            min_side: spec.options.min_side,
            max_pixels: spec.options.max_pixels,
            max_frames: spec.options.max_frames,
        }
    }
}

impl From<v1::SnapshotSpec> for SnapshotSpec {
    fn from(spec: v1::SnapshotSpec) -> Self {
        Self { dataset: spec.dataset, seed: spec.seed, valid_percent: or_default(spec.valid_percent, 20) }
    }
}

impl TryFrom<v1::DeploySpec> for DeploySpec {
    type Error = BadField;

    fn try_from(spec: v1::DeploySpec) -> Result<Self, BadField> {
        use v1::deploy_spec::Model;
        let model = match required("model", spec.model)? {
            Model::ModelFromJob(job) => ModelRef::FromJob(job),
            Model::ModelDigest(digest) => ModelRef::Digest(digest),
        };
        Ok(Self { endpoint: spec.endpoint, model, timeout_seconds: or_default(spec.timeout_seconds, 120) })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_bad_member_is_named_with_its_job() {
        let job = v1::JobDefinition { name: "bears".into(), ..Default::default() };
        assert_eq!(JobDefinition::try_from(job).unwrap_err().to_string(), "jobs.bears.spec: is missing");
    }

    #[test]
    fn labels_are_written_the_same_in_whatever_order_they_were_read() {
        let part = |name: &str| {
            let labels = [(name.to_owned(), "cellar".to_owned())].into();
            v1::Resources { labels, ..v1::Resources::default() }.encode_to_vec()
        };
        // Messages one after the other are read as one.
        let read = |parts: &[Vec<u8>]| v1::Resources::decode(parts.concat().as_slice()).unwrap();
        let mut parts: Vec<Vec<u8>> = ["a", "b", "c", "d", "e", "f", "g", "h"].map(part).into();
        let in_order = parts.concat();
        assert_eq!(read(&parts).encode_to_vec(), in_order);
        parts.reverse();
        assert_eq!(read(&parts).encode_to_vec(), in_order);
    }
}
