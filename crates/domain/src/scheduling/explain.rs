//! Why a task waits: what it needs, and what there is. Numbers, and what the request itself says: neither workers nor
//! their labels nor anybody else's work is named.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::offer::{Offer, Request};
use super::placement::{GpuSet, Unfit, place, suitable};
use super::resources::Resources;
use super::room::Room;

/// Bytes in a hundredth of a GiB. What is needed is rounded up, what there is down: they never look the same.
const HUNDREDTH: f64 = (1_u64 << 30) as f64 / 100.0;

/// Why a task that asks for `request`, `gang` of them at once, has no place among `offers`, of which room on those `kept` is
/// promised to others. What holds it up whoever is free is a [`Hold`](super::Hold), which says so itself.
pub fn explain(request: &Request, gang: u32, offers: &[Offer], kept: &[Uuid]) -> String {
    if !request.kind.runs_on_workers() {
        return "the coordinator itself is about to begin it".to_owned();
    }
    let takers: Vec<&Offer> = offers.iter().filter(|offer| offer.kinds.contains(&request.kind)).collect();
    if takers.is_empty() {
        return format!("no worker that takes {} tasks is attached", request.kind);
    }
    let fleet = Fleet::new(takers, request, kept);
    match gang {
        0 | 1 => fleet.why_not_one(),
        gang => fleet.why_not_together(gang as usize),
    }
}

/// What the workers that take the kind say to a request.
struct Fleet<'a> {
    request: &'a Request,
    /// How many there are.
    takers: usize,
    /// Those that could do it with nothing of ours on them.
    able: Vec<(Room<'a>, GpuSet)>,
    /// How many could do it now.
    free: usize,
    /// How many could if their room were not promised to others.
    kept: usize,
    /// Why the others cannot.
    reasons: Vec<Unfit>,
}

impl<'a> Fleet<'a> {
    fn new(takers: Vec<&'a Offer>, request: &'a Request, kept: &[Uuid]) -> Self {
        let able = takers.iter().filter_map(|offer| Some((Room::new(offer), suitable(offer, request).ok()?)));
        let reasons: Vec<Unfit> = takers.iter().filter_map(|offer| place(offer, request).err()).collect();
        let have_room: Vec<&Offer> = takers.iter().copied().filter(|offer| place(offer, request).is_ok()).collect();
        let kept = have_room.iter().filter(|offer| kept.contains(&offer.id)).count();
        Self { request, takers: takers.len(), able: able.collect(), free: have_room.len() - kept, kept, reasons }
    }

    fn why_not_one(&self) -> String {
        // What comes nearest to fitting says most.
        match self.reasons.iter().max() {
            _ if self.free > 0 => self.begins(&needs_one(self.request)),
            _ if self.kept > 0 => self.waits_its_turn(&needs_one(self.request)),
            Some(Unfit::Labels) => self.labels(),
            Some(reason) => {
                format!("{}; {} attached, {}", needs_one(self.request), workers(self.takers), self.lack(*reason))
            }
            None => needs_one(self.request),
        }
    }

    fn why_not_together(&self, gang: usize) -> String {
        let needs = needs_together(self.request, gang);
        match (self.free, self.able.len()) {
            (free, _) if free >= gang => self.begins(&needs),
            (free, _) if free + self.kept >= gang => self.waits_its_turn(&needs),
            (_, 0) => self.why_not_one(),
            (_, able) if able < gang => format!("{needs}; only {able} of {} could do it", workers(self.takers)),
            (0, _) => format!("{needs}; none has room"),
            (1, _) => format!("{needs}; 1 has room"),
            (free, _) => format!("{needs}; {free} have room"),
        }
    }

    fn begins(&self, needs: &str) -> String {
        let have = if self.free == 1 { "has" } else { "have" };
        format!("{needs}; {} {have} room, so it is about to begin", workers(self.free))
    }

    fn waits_its_turn(&self, needs: &str) -> String {
        let have = if self.kept == 1 { "has" } else { "have" };
        format!(
            "{needs}; {} {have} room that is kept for what waits for more of it, or is more urgent",
            workers(self.kept)
        )
    }

    fn labels(&self) -> String {
        let Resources { labels, avoid_labels, .. } = &self.request.resources;
        let others = if self.takers == 1 {
            "the 1 worker attached".to_owned()
        } else {
            format!("none of {} workers", self.takers)
        };
        match (list("label", labels), labels.len(), avoid_labels.is_empty()) {
            (Some(label), 1, true) if self.takers > 1 => format!("needs {label}; {others} has it"),
            (Some(label), 1, true) => format!("needs {label}; {others} does not have it"),
            _ if self.takers > 1 => format!("needs a worker{}; {others} is one", labels_of(&self.request.resources)),
            _ => format!("needs a worker{}; {others} is none", labels_of(&self.request.resources)),
        }
    }

    /// What the workers lack that come nearest to fitting.
    fn lack(&self, reason: Unfit) -> String {
        match (reason, self.most(reason)) {
            (Unfit::Draining, _) => "none takes more tasks".to_owned(),
            (Unfit::NoGpu { .. }, 0) => "none has a GPU".to_owned(),
            (Unfit::NoGpu { .. }, most) => format!("none has more than {most}"),
            (Unfit::Memory { .. }, most) if most < self.request.resources.gpu_memory_bytes => {
                format!("largest has {}", gibibytes((most as f64 / HUNDREDTH).floor()))
            }
            (Unfit::Memory { .. } | Unfit::Model | Unfit::Driver, _) => match self.request.gpus_on(1) {
                1 => "none has one".to_owned(),
                count => format!("none has {count} of them"),
            },
            _ => self.busy(),
        }
    }

    /// The largest number that goes with reasons like this one.
    fn most(&self, reason: Unfit) -> u64 {
        let numbers = self.reasons.iter().filter_map(|other| match (reason, other) {
            (Unfit::NoGpu { .. }, Unfit::NoGpu { has }) => Some(u64::from(*has)),
            (Unfit::Memory { .. }, Unfit::Memory { largest_bytes }) => Some(*largest_bytes),
            _ => None,
        });
        numbers.max().unwrap_or_default()
    }

    fn busy(&self) -> String {
        let able = self.able.len();
        let (they, their, are) = if able == 1 { ("it", "its", "is") } else { ("they", "their", "are") };
        let who = if able < self.takers { format!("{able} could do it, but ") } else { String::new() };
        let missing = |(room, suitable): &(Room<'_>, GpuSet)| {
            (self.request.gpus_on(room.offer.gpus.len()) as usize, room.gpus_missing(self.request, *suitable))
        };
        if self.able.iter().all(|(room, _)| room.slots == 0) {
            format!("{who}{they} {are} full")
        } else if self.able.iter().all(|able| missing(able).1 == 0) {
            format!("{who}{they} {are} at work on something else")
        } else if self.able.iter().all(|able| missing(able).0 == missing(able).1) {
            format!("{who}all {their} GPUs are in use")
        } else {
            format!("{who}too few of {their} GPUs are free")
        }
    }
}

/// "needs 2 GPUs of model H100 with 40 GiB each on a worker with label zone=a".
fn needs_one(request: &Request) -> String {
    let labels = labels_of(&request.resources);
    let on = if labels.is_empty() { String::new() } else { format!(" on a worker{labels}") };
    match (request.gpus(), request.kind) {
        (Some(1..), _) => format!("needs {}{on}", gpus(request)),
        (None, kind) if kind.learns() => format!("needs {} or a worker without GPUs{labels}", gpus(request)),
        (_, kind) if kind.learns() => format!("needs a worker{labels} to train on its processor"),
        (_, kind) => format!("needs a worker{labels} for {kind} tasks"),
    }
}

/// "needs 4 workers with label zone=a at once, each with 1 GPU".
fn needs_together(request: &Request, gang: usize) -> String {
    let each = match request.gpus_on(1) {
        0 => String::new(),
        _ => format!(", each with {}", gpus(request)),
    };
    format!("needs {gang} workers{} at once{each}", labels_of(&request.resources))
}

/// "2 GPUs of model H100 or A100 with 40 GiB each and driver 550.54 or later".
fn gpus(request: &Request) -> String {
    let Resources { gpu_models, gpu_memory_bytes, min_driver, .. } = &request.resources;
    let (gpus, each) = match request.gpus_on(1) {
        1 => ("1 GPU".to_owned(), ""),
        count => (format!("{count} GPUs"), " each"),
    };
    let models = gpu_models.join(" or ");
    let memory = gibibytes((*gpu_memory_bytes as f64 / HUNDREDTH).ceil());
    let of = if models.is_empty() { String::new() } else { format!(" of model {models}") };
    let with = match (*gpu_memory_bytes, min_driver.as_str()) {
        (0, "") => String::new(),
        (0, driver) => format!(" with driver {driver} or later"),
        (_, "") => format!(" with {memory}{each}"),
        (_, driver) => format!(" with {memory}{each} and driver {driver} or later"),
    };
    format!("{gpus}{of}{with}")
}

/// " with label zone=a and without labels spot and office", or nothing.
fn labels_of(resources: &Resources) -> String {
    let with = list("label", &resources.labels).map(|labels| format!("with {labels}"));
    let without = list("label", &resources.avoid_labels).map(|labels| format!("without {labels}"));
    match [with, without].into_iter().flatten().collect::<Vec<_>>() {
        parts if parts.is_empty() => String::new(),
        parts => format!(" {}", parts.join(" and ")),
    }
}

fn list(word: &str, labels: &BTreeMap<String, String>) -> Option<String> {
    let label =
        |(name, value): (&String, &String)| if value.is_empty() { name.clone() } else { format!("{name}={value}") };
    let labels: Vec<String> = labels.iter().map(label).collect();
    let plural = if labels.len() == 1 { "" } else { "s" };
    (!labels.is_empty()).then(|| format!("{word}{plural} {}", labels.join(" and ")))
}

fn workers(count: usize) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}

fn gibibytes(hundredths: f64) -> String {
    format!("{} GiB", hundredths / 100.0)
}
