//! Whether a worker has what a task needs, and which of its GPUs it gets.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Resources;
use crate::JobKind;

/// What a worker has to offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The worker.
    pub id: Uuid,
    /// Kinds of task it takes.
    pub kinds: Vec<JobKind>,
    /// Tasks it has room for.
    pub slots: u32,
    /// Whether it takes no more.
    pub draining: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its GPUs.
    pub gpus: Vec<GpuOffer>,
    /// Whether no training run without a GPU is on it: it does one at a time.
    pub cpu_training: bool,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuOffer {
    /// Its number on the machine.
    pub index: u32,
    /// Its name.
    pub model: String,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// What of it is really free, in bytes.
    pub free_bytes: u64,
    /// Version of its driver.
    pub driver: String,
    /// What was lent of it.
    pub used: GpuUse,
}

/// What was lent of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuUse {
    /// Nothing.
    Free,
    /// All of it.
    Exclusive,
    /// So much of its memory, to tasks that share.
    Shared {
        /// What they asked for, in bytes.
        bytes: u64,
    },
}

/// What a task asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its kind.
    pub kind: JobKind,
    /// What it needs.
    pub resources: Resources,
}

/// Why a worker cannot take a task, in the order in which one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// It does not take the kind.
    Kind,
    /// It takes no more.
    Draining,
    /// It lacks a label, or has one that is to be avoided.
    Labels,
    /// It has too few GPUs.
    GpuCount {
        /// How many it has.
        has: u32,
    },
    /// Too few of its GPUs are of a model that will do.
    Model,
    /// Too few of its GPUs have a driver that is new enough.
    Driver,
    /// Too few of its GPUs have the memory.
    Memory {
        /// The most that is, or could be, free on one, in bytes.
        largest: u64,
    },
    /// It could, but not now.
    Busy,
}

impl Request {
    /// How many GPUs of a worker with `has` it takes.
    pub(super) fn gpus_on(&self, has: usize) -> u32 {
        self.resources.gpus.unwrap_or_else(|| u32::from(self.kind == JobKind::Train && has > 0))
    }

    /// Whether it takes the processor's place for training on a worker with `has` GPUs.
    pub(super) fn trains_on_cpu(&self, has: usize) -> bool {
        self.kind == JobKind::Train && self.gpus_on(has) == 0
    }
}

impl GpuOffer {
    /// Memory that a task could have, in bytes, given what was lent.
    fn room(&self, shared: bool) -> Option<u64> {
        match self.used {
            GpuUse::Free => Some(self.free_bytes),
            GpuUse::Shared { bytes } if shared => Some(self.free_bytes.min(self.memory_bytes.saturating_sub(bytes))),
            GpuUse::Shared { .. } | GpuUse::Exclusive => None,
        }
    }

    /// Lends it.
    pub(super) fn lend(&mut self, resources: &Resources) {
        self.used = match self.used {
            _ if !resources.shared => GpuUse::Exclusive,
            GpuUse::Shared { bytes } => GpuUse::Shared { bytes: bytes + resources.gpu_memory_bytes },
            _ => GpuUse::Shared { bytes: resources.gpu_memory_bytes },
        };
    }

    /// Takes back what a task had of it.
    pub(super) fn take_back(&mut self, shared_bytes: u64) {
        self.used = match self.used {
            GpuUse::Shared { bytes } if bytes > shared_bytes => GpuUse::Shared { bytes: bytes - shared_bytes },
            _ => GpuUse::Free,
        };
        // What it used is not free yet, but will be.
        self.free_bytes = if self.used == GpuUse::Free { self.memory_bytes } else { self.free_bytes };
    }
}

impl Offer {
    /// Gives a task its place.
    pub(super) fn lend(&mut self, request: &Request, gpus: &[u32]) {
        self.slots = self.slots.saturating_sub(1);
        if request.trains_on_cpu(self.gpus.len()) {
            self.cpu_training = false;
        }
        for gpu in self.gpus.iter_mut().filter(|gpu| gpus.contains(&gpu.index)) {
            gpu.lend(&request.resources);
        }
    }

    /// The same worker with nothing on it.
    pub(super) fn emptied(&self) -> Self {
        let mut empty = self.clone();
        empty.slots = empty.slots.max(1);
        empty.cpu_training = true;
        for gpu in &mut empty.gpus {
            if gpu.used != GpuUse::Free {
                gpu.free_bytes = gpu.memory_bytes;
            }
            gpu.used = GpuUse::Free;
        }
        empty
    }
}

/// The GPUs that a task gets of a worker: those with the least memory to spare, so that the large ones stay free; of
/// those that can be shared, the ones that are already.
///
/// # Errors
/// Why it cannot have a place there now.
pub fn place(offer: &Offer, request: &Request) -> Result<Vec<u32>, Unfit> {
    could_take(offer, request)?;
    let wanted = request.gpus_on(offer.gpus.len()) as usize;
    if offer.slots == 0 || (request.trains_on_cpu(offer.gpus.len()) && !offer.cpu_training) {
        return Err(Unfit::Busy);
    }
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let resources = &request.resources;
    let mut fitting: Vec<(bool, u64, u32)> = suitable(offer, resources)
        .filter_map(|gpu| {
            let room = gpu.room(resources.shared)?;
            let is_fresh = gpu.used == GpuUse::Free;
            (room >= resources.gpu_memory_bytes).then_some((is_fresh, room, gpu.index))
        })
        .collect();
    if fitting.len() < wanted {
        return Err(memory_or_busy(offer, resources, wanted));
    }
    fitting.sort_unstable_by_key(|(is_fresh, room, index)| (resources.shared && *is_fresh, *room, *index));
    Ok(fitting.into_iter().take(wanted).map(|(.., index)| index).collect())
}

/// Whether a worker could take a task if nothing were on it.
///
/// # Errors
/// Why it never could.
pub fn could_ever_place(offer: &Offer, request: &Request) -> Result<(), Unfit> {
    place(&offer.emptied(), request).map(drop)
}

/// Everything that does not change with what is on the worker.
fn could_take(offer: &Offer, request: &Request) -> Result<(), Unfit> {
    if !offer.kinds.contains(&request.kind) {
        return Err(Unfit::Kind);
    }
    if offer.draining {
        return Err(Unfit::Draining);
    }
    let resources = &request.resources;
    let has = |(name, value): (&String, &String)| {
        offer.labels.get(name).is_some_and(|found| value.is_empty() || found == value)
    };
    if !resources.labels.iter().all(has) || resources.avoid_labels.iter().any(has) {
        return Err(Unfit::Labels);
    }
    let wanted = request.gpus_on(offer.gpus.len()) as usize;
    if offer.gpus.len() < wanted {
        return Err(Unfit::GpuCount { has: offer.gpus.len() as u32 });
    }
    let enough = |fits: &dyn Fn(&GpuOffer) -> bool| offer.gpus.iter().filter(|gpu| fits(gpu)).count() >= wanted;
    if !enough(&|gpu| resources.is_model_wanted(&gpu.model)) {
        return Err(Unfit::Model);
    }
    if suitable(offer, resources).count() < wanted {
        return Err(Unfit::Driver);
    }
    Ok(())
}

fn suitable<'a>(offer: &'a Offer, resources: &'a Resources) -> impl Iterator<Item = &'a GpuOffer> {
    offer
        .gpus
        .iter()
        .filter(|gpu| resources.is_model_wanted(&gpu.model) && resources.is_driver_new_enough(&gpu.driver))
}

/// Whether waiting for what we lent would help.
fn memory_or_busy(offer: &Offer, resources: &Resources, wanted: usize) -> Unfit {
    let emptied = offer.emptied();
    let mut rooms: Vec<u64> = suitable(&emptied, resources).map(|gpu| gpu.free_bytes).collect();
    rooms.sort_unstable_by_key(|room| std::cmp::Reverse(*room));
    if rooms.iter().filter(|room| **room >= resources.gpu_memory_bytes).count() >= wanted {
        return Unfit::Busy;
    }
    Unfit::Memory { largest: rooms.first().copied().unwrap_or_default() }
}
