//! Why a task waits: what it needs, and what there is. Numbers only: neither workers nor their labels nor anybody else's
//! work is named.

use std::fmt;

use super::placement::{Offer, Request, Unfit, could_ever_place, place};

const GIBIBYTE: f64 = (1_u64 << 30) as f64;

/// What holds a task up, whoever is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Its project is paused.
    ProjectPaused,
    /// The queue of its kind is paused.
    QueuePaused,
    /// The project could not have so many more tasks at work.
    RunningQuota(u32),
    /// The project could not have so many more GPUs at work.
    GpuQuota(u32),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProjectPaused => f.write_str("the project is paused"),
            Self::QueuePaused => f.write_str("the queue is paused"),
            Self::RunningQuota(max) => write!(f, "the project's quota of {max} running tasks leaves no room for it"),
            Self::GpuQuota(max) => write!(f, "the project's quota of {max} GPUs leaves no room for it"),
        }
    }
}

/// Why a task that asks for `request`, `gang` of them at once, has no place among `offers`.
pub fn explain(request: &Request, gang: u32, offers: &[Offer]) -> String {
    let kind = request.kind;
    if !kind.runs_on_workers() {
        return "the coordinator is about to begin".to_owned();
    }
    let takers: Vec<&Offer> = offers.iter().filter(|offer| offer.kinds.contains(&kind)).collect();
    if takers.is_empty() {
        return format!("no worker that takes {kind} tasks is attached{}", others(offers.len()));
    }
    let needs = needs(request, gang);
    let (draining, open): (Vec<&Offer>, Vec<&Offer>) = takers.into_iter().partition(|offer| offer.draining);
    if open.is_empty() {
        return format!("{needs}; {} attached, none takes more", workers(draining.len()));
    }
    let reasons: Vec<Unfit> = open.iter().filter_map(|offer| reason(offer, request)).collect();
    let free = open.len() - reasons.len();
    if free >= gang.max(1) as usize {
        return format!("{needs}; {} it, and it is about to begin", have(free));
    }
    format!("{needs}; {}, {}", attached(open.len(), draining.len()), nearest(request, gang, free, &reasons))
}

/// What comes nearest to fitting says most.
fn nearest(request: &Request, gang: u32, free: usize, reasons: &[Unfit]) -> String {
    let busy = reasons.iter().filter(|reason| **reason == Unfit::Busy).count();
    if gang > 1 && free + busy > 0 {
        return format!("{} could do it, {free} with room now", free + busy);
    }
    let wanted = request.gpus_on(1);
    let several = if wanted > 1 { format!("{} of ", gpus(wanted)) } else { String::new() };
    match reasons.iter().copied().max() {
        Some(Unfit::Labels) => "none fits the labels asked for".to_owned(),
        Some(Unfit::GpuCount { .. }) => most_gpus(reasons),
        Some(Unfit::Model) => format!("none has {several}such a model"),
        Some(Unfit::Driver) => format!("none has {several}a driver that new"),
        Some(Unfit::Memory { largest }) if wanted > 1 => {
            format!("the most that {} on one have is {}", gpus(wanted), gibibytes(largest, f64::floor))
        }
        Some(Unfit::Memory { largest }) => format!("largest has {}", gibibytes(largest, f64::floor)),
        _ => format!("{busy} could do it and {} at work on something else", are(busy)),
    }
}

/// Why a worker cannot now: what never changes before what does.
fn reason(offer: &Offer, request: &Request) -> Option<Unfit> {
    place(offer, request).err().map(|unfit| could_ever_place(offer, request).err().unwrap_or(unfit))
}

fn most_gpus(reasons: &[Unfit]) -> String {
    let count = |reason: &Unfit| if let Unfit::GpuCount { has } = reason { Some(*has) } else { None };
    match reasons.iter().filter_map(count).max() {
        None | Some(0) => "none has a GPU".to_owned(),
        Some(most) => format!("the most on one is {}", gpus(most)),
    }
}

/// "needs 2 GPUs with 40 GiB each, model H100, on 4 workers at once".
fn needs(request: &Request, gang: u32) -> String {
    let resources = &request.resources;
    let wanted = request.gpus_on(1);
    let mut parts = vec![match request.gpus() {
        Some(count) if count > 0 => format!("needs {}{}", gpus(count), memory(request)),
        None if wanted > 0 => "needs a GPU, or a worker that trains on its processor".to_owned(),
        _ => format!("needs a worker for {}", request.kind),
    }];
    if wanted > 0 && !resources.gpu_models.is_empty() {
        parts.push(format!("model {}", resources.gpu_models.join(" or ")));
    }
    if wanted > 0 && !resources.min_driver.is_empty() {
        parts.push(format!("driver {} or later", resources.min_driver));
    }
    parts.extend(resources.labels.iter().map(|(name, value)| format!("label {}", label(name, value))));
    parts.extend(resources.avoid_labels.iter().map(|(name, value)| format!("not label {}", label(name, value))));
    if gang > 1 {
        parts.push(format!("on {gang} workers at once"));
    }
    parts.join(", ")
}

fn memory(request: &Request) -> String {
    match (request.resources.gpu_memory_bytes, request.gpus_on(1)) {
        (0, _) => String::new(),
        (bytes, 1) => format!(" with {}", gibibytes(bytes, f64::ceil)),
        (bytes, _) => format!(" with {} each", gibibytes(bytes, f64::ceil)),
    }
}

/// "3 workers attached and 1 draining".
fn attached(open: usize, draining: usize) -> String {
    let more = if draining == 0 { String::new() } else { format!(" and {draining} draining") };
    format!("{} attached{more}", workers(open))
}

fn others(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (1 other is)".to_owned(),
        count => format!(" ({count} others are)"),
    }
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

/// To a tenth; what is needed is rounded up and what there is down, so that the one never looks like the other.
fn gibibytes(bytes: u64, round: fn(f64) -> f64) -> String {
    let text = format!("{:.1}", round(bytes as f64 / GIBIBYTE * 10.0) / 10.0);
    format!("{} GiB", text.trim_end_matches(".0"))
}
