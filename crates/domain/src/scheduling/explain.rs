//! Why a task waits: what it needs, and what there is. Numbers only: neither workers nor their labels nor anybody else's
//! work is named.

use std::fmt;

use super::placement::{Offer, Request, Unfit, could_ever_place, place};
use crate::JobKind;

const GIBIBYTE: f64 = (1_u64 << 30) as f64;

/// What holds a task up, whoever is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Its project is paused.
    ProjectPaused,
    /// The queue of its kind is paused.
    QueuePaused,
    /// The project has as many tasks at work as it may.
    RunningQuota(u32),
    /// The project has as many GPUs at work as it may.
    GpuQuota(u32),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProjectPaused => f.write_str("the project is paused"),
            Self::QueuePaused => f.write_str("the queue is paused"),
            Self::RunningQuota(max) => write!(f, "the project's quota of {max} running tasks is used up"),
            Self::GpuQuota(max) => write!(f, "the project's quota of {max} GPUs is used up"),
        }
    }
}

/// Why a task that asks for `request`, `gang` of them at once, has no place among `offers`.
pub fn explain(request: &Request, gang: u32, offers: &[Offer]) -> String {
    let needs = needs(request, gang);
    let kind = request.kind;
    let own = kind == JobKind::Snapshot || kind == JobKind::Deploy;
    if own {
        return "the coordinator is about to begin".to_owned();
    }
    let takers = offers.iter().filter(|offer| offer.kinds.contains(&kind)).count();
    if takers == 0 {
        let others = if offers.is_empty() { String::new() } else { format!(" ({} others are)", workers(offers.len())) };
        return format!("no worker that takes {kind} tasks is attached{others}");
    }
    let reasons: Vec<Unfit> = offers.iter().filter_map(|offer| reason(offer, request)).collect();
    let free = offers.len() - reasons.len();
    if free >= gang as usize {
        return format!("{needs}; {} it, and it is about to begin", have(free));
    }
    // What comes nearest to fitting says most.
    let nearest = reasons.iter().copied().filter(|reason| *reason != Unfit::Kind).max();
    let there = format!("{} attached", workers(takers));
    match nearest {
        _ if gang > 1 && free > 0 => format!("{needs}; {there}, {free} with room now"),
        Some(Unfit::Draining) => format!("{needs}; {there}, none takes more"),
        Some(Unfit::Labels) => format!("{needs}; {there}, none has the labels asked for"),
        Some(Unfit::GpuCount { .. }) => format!("{needs}; {there}, the most on one is {}", gpus(most_gpus(&reasons))),
        Some(Unfit::Model) => format!("{needs}; {there}, none has such a model"),
        Some(Unfit::Driver) => format!("{needs}; {there}, none has a driver that new"),
        Some(Unfit::Memory { .. }) => format!("{needs}; {there}, largest has {}", gibibytes(largest(&reasons))),
        _ => {
            let fitting = reasons.iter().filter(|reason| **reason == Unfit::Busy).count();
            format!("{needs}; {there}, {fitting} could do it and {} at work on something else", are(fitting))
        }
    }
}

/// Why a worker cannot now: what never changes before what does.
fn reason(offer: &Offer, request: &Request) -> Option<Unfit> {
    place(offer, request).err().map(|unfit| could_ever_place(offer, request).err().unwrap_or(unfit))
}

fn most_gpus(reasons: &[Unfit]) -> u32 {
    let count = |reason: &Unfit| if let Unfit::GpuCount { has } = reason { Some(*has) } else { None };
    reasons.iter().filter_map(count).max().unwrap_or_default()
}

fn largest(reasons: &[Unfit]) -> u64 {
    let bytes = |reason: &Unfit| if let Unfit::Memory { largest } = reason { Some(*largest) } else { None };
    reasons.iter().filter_map(bytes).max().unwrap_or_default()
}

/// "needs 2 GPUs with 40 GiB each of H100, on 4 workers at once".
fn needs(request: &Request, gang: u32) -> String {
    let resources = &request.resources;
    let mut text = match (resources.gpus, request.kind) {
        (Some(count), _) if count > 0 => format!("needs {}", gpus(count)),
        (None, JobKind::Train) => "needs a GPU, or a worker that trains on its processor".to_owned(),
        _ => format!("needs a worker for {}", request.kind),
    };
    if resources.gpu_memory_bytes > 0 {
        text += &format!(" with {}", gibibytes(resources.gpu_memory_bytes));
    }
    if !resources.gpu_models.is_empty() {
        text += &format!(" of model {}", resources.gpu_models.join(" or "));
    }
    if !resources.min_driver.is_empty() {
        text += &format!(" with driver {} or later", resources.min_driver);
    }
    for (name, value) in &resources.labels {
        text += &format!(", label {}", label(name, value));
    }
    for (name, value) in &resources.avoid_labels {
        text += &format!(", not label {}", label(name, value));
    }
    if gang > 1 {
        text += &format!(", on {gang} workers at once");
    }
    text
}

fn label(name: &str, value: &str) -> String {
    if value.is_empty() { name.to_owned() } else { format!("{name}={value}") }
}

fn gpus(count: u32) -> String {
    if count == 1 { "1 GPU".to_owned() } else { format!("{count} GPUs") }
}

fn workers(count: usize) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}

fn have(count: usize) -> String {
    if count == 1 { "1 worker has room for".to_owned() } else { format!("{count} workers have room for") }
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn gibibytes(bytes: u64) -> String {
    let text = format!("{:.1}", bytes as f64 / GIBIBYTE);
    format!("{} GiB", text.trim_end_matches(".0"))
}
