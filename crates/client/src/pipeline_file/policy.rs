//! The keys that say how a job is worked on, whatever its kind: times and sizes as people write them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use ursa_domain::size::ByteSize;
use ursa_proto::v1;

use super::job::set;

/// Waits between attempts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackoffEntry {
    first: Option<Span>,
    longest: Option<Span>,
}

impl BackoffEntry {
    pub(super) fn apply(self, backoff: &mut v1::Backoff) {
        set_span(&mut backoff.first, self.first);
        set_span(&mut backoff.longest, self.longest);
    }
}

/// What may take how long.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadlinesEntry {
    queue_wait: Option<Span>,
    run: Option<Span>,
    no_progress: Option<Span>,
    total: Option<Span>,
}

impl DeadlinesEntry {
    pub(super) fn apply(self, deadlines: &mut v1::Deadlines) {
        set_span(&mut deadlines.queue_wait, self.queue_wait);
        set_span(&mut deadlines.run, self.run);
        set_span(&mut deadlines.no_progress, self.no_progress);
        set_span(&mut deadlines.total, self.total);
    }
}

/// What a task needs of a worker.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourcesEntry {
    gpus: Option<u32>,
    gpu_memory: Option<Size>,
    gpu_models: Option<Vec<String>>,
    min_driver: Option<String>,
    shared: Option<bool>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    avoid_labels: BTreeMap<String, String>,
}

impl ResourcesEntry {
    pub(super) fn apply(self, resources: &mut v1::Resources) {
        resources.gpus = self.gpus.or(resources.gpus);
        set(&mut resources.gpu_memory_bytes, self.gpu_memory.map(|size| size.0));
        set(&mut resources.gpu_models, self.gpu_models);
        set(&mut resources.min_driver, self.min_driver);
        set(&mut resources.shared, self.shared);
        resources.labels.extend(self.labels);
        resources.avoid_labels.extend(self.avoid_labels);
    }
}

/// When a job runs, given how those it waits for ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    OnSuccess,
    OnFailure,
    Always,
}

impl Condition {
    /// As the wire has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::OnSuccess => "on_success",
            Self::OnFailure => "on_failure",
            Self::Always => "always",
        }
    }
}

/// A length of time: `30s`, `1h 30m`.
struct Span(prost_types::Duration);

fn set_span(member: &mut Option<prost_types::Duration>, given: Option<Span>) {
    set(member, given.map(|span| Some(span.0)));
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = humantime::parse_duration(&text).ok().and_then(|span: Duration| span.try_into().ok());
        let refused = || format!("{text:?} is no length of time; examples: 30s, 5m, 1h 30m, 2days");
        span.map(Self).ok_or_else(|| de::Error::custom(refused()))
    }
}

/// An amount of memory in bytes: `40GiB`.
struct Size(u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ByteSize(bytes) = String::deserialize(deserializer)?.parse().map_err(de::Error::custom)?;
        Ok(Self(bytes))
    }
}
