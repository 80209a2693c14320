//! Whether a worker has what a task needs, and which of its GPUs it gets.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use uuid::Uuid;

use super::Resources;
use super::room::Room;
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
        /// The most that is, or could be, free on each of as many as it needs, in bytes.
        largest: u64,
    },
    /// It could, but not now.
    Busy,
}

/// What a place takes from the tasks to come; the least is best. Members in the order of their weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Work that needs no GPU on a worker that has some, or work that could use one on a worker without.
    is_misplaced: bool,
    /// A GPU that nothing is on yet, for a task that could share.
    opens_gpu: bool,
    /// Memory of the smallest GPU that it could have, in bytes: large ones are rare.
    memory_bytes: u64,
    /// GPUs that nothing is on yet: whole workers are kept for those who need many.
    free_gpus: usize,
    /// Everything else is spread.
    slots: Reverse<u32>,
}

impl Request {
    /// How many GPUs of a worker with `has` it takes.
    pub(super) fn gpus_on(&self, has: usize) -> u32 {
        self.gpus().unwrap_or_else(|| u32::from(self.kind == JobKind::Train && has > 0))
    }

    /// How many GPUs it takes, where that does not depend on the worker. Training that says what its GPU must be like
    /// does not do without one.
    pub(super) fn gpus(&self) -> Option<u32> {
        let is_particular = self.kind == JobKind::Train && self.resources.describes_gpu();
        self.resources.gpus.or(is_particular.then_some(1))
    }

    /// Whether it takes the processor's place for training on a worker with `has` GPUs.
    pub(super) fn trains_on_cpu(&self, has: usize) -> bool {
        self.kind == JobKind::Train && self.gpus_on(has) == 0
    }
}

/// The GPUs that a task gets of a worker: those with the least memory to spare, so that the large ones stay free; of
/// those that can be shared, the ones that are already.
///
/// # Errors
/// Why it cannot have a place there now.
pub fn place(offer: &Offer, request: &Request) -> Result<Vec<u32>, Unfit> {
    place_in(offer, &Room::of(offer), request)
}

/// Whether a worker could take a task if nothing were on it.
///
/// # Errors
/// Why it never could.
pub fn could_ever_place(offer: &Offer, request: &Request) -> Result<(), Unfit> {
    place_in(offer, &Room::emptied(offer), request).map(drop)
}

fn place_in(offer: &Offer, room: &Room, request: &Request) -> Result<Vec<u32>, Unfit> {
    could_take(offer, request)?;
    let suits = |at: usize| offer.gpus[at].suits(&request.resources);
    match cost(offer, room, request, &suits) {
        Some(_) => Ok(choose(offer, room, request, &suits)),
        None => Err(memory_or_busy(offer, request)),
    }
}

/// Everything that does not change with what is on the worker.
pub(super) fn could_take(offer: &Offer, request: &Request) -> Result<(), Unfit> {
    takes(offer, request)?;
    let resources = &request.resources;
    let wanted = request.gpus_on(offer.gpus.len()) as usize;
    if offer.gpus.len() < wanted {
        return Err(Unfit::GpuCount { has: offer.gpus.len() as u32 });
    }
    if offer.gpus.iter().filter(|gpu| resources.is_model_wanted(&gpu.model)).count() < wanted {
        return Err(Unfit::Model);
    }
    if offer.gpus.iter().filter(|gpu| gpu.suits(resources)).count() < wanted {
        return Err(Unfit::Driver);
    }
    Ok(())
}

/// The same but for its GPUs.
pub(super) fn takes(offer: &Offer, request: &Request) -> Result<(), Unfit> {
    if !offer.kinds.contains(&request.kind) {
        return Err(Unfit::Kind);
    }
    if offer.draining {
        return Err(Unfit::Draining);
    }
    let has = |(name, value): (&String, &String)| {
        offer.labels.get(name).is_some_and(|found| value.is_empty() || found == value)
    };
    let Resources { labels, avoid_labels, .. } = &request.resources;
    if labels.iter().all(has) && !avoid_labels.iter().any(has) { Ok(()) } else { Err(Unfit::Labels) }
}

/// What the place of a task costs on a worker that takes it, if there is one now. `suits` tells of a GPU, by its place in
/// the offer, whether its model and driver will do.
pub(super) fn cost(offer: &Offer, room: &Room, request: &Request, suits: Suits) -> Option<Cost> {
    let wanted = request.gpus_on(offer.gpus.len()) as usize;
    if room.slots == 0 || (request.trains_on_cpu(offer.gpus.len()) && !room.cpu_training) {
        return None;
    }
    let mut cost = Cost {
        is_misplaced: (request.gpus_on(1) > 0) == offer.gpus.is_empty(),
        opens_gpu: false,
        memory_bytes: 0,
        free_gpus: 0,
        slots: Reverse(room.slots),
    };
    if wanted > 0 {
        let (mut count, mut opened) = (0, 0);
        cost.memory_bytes = u64::MAX;
        for gpu in fitting(offer, room, &request.resources, suits) {
            count += 1;
            opened += usize::from(!gpu.opens);
            cost.memory_bytes = cost.memory_bytes.min(gpu.memory_bytes);
        }
        cost.opens_gpu = opened < wanted;
        cost.free_gpus = room.gpus.iter().filter(|gpu| gpu.used == GpuUse::Free).count();
        if count < wanted {
            return None;
        }
    }
    Some(cost)
}

/// The GPUs that a task gets where [`cost`] found that it has a place.
pub(super) fn choose(offer: &Offer, room: &Room, request: &Request, suits: Suits) -> Vec<u32> {
    let mut fitting: Vec<Fit> = fitting(offer, room, &request.resources, suits).collect();
    fitting.sort_unstable();
    fitting.into_iter().take(request.gpus_on(offer.gpus.len()) as usize).map(|gpu| gpu.index).collect()
}

/// See [`cost`].
pub(super) type Suits<'a> = &'a dyn Fn(usize) -> bool;

/// How many things a task lacks on a worker that could take it: GPUs, a slot, the processor's place.
pub(super) fn missing(offer: &Offer, room: &Room, request: &Request, suits: Suits) -> u32 {
    let wanted = request.gpus_on(offer.gpus.len());
    let fitting = fitting(offer, room, &request.resources, suits).count() as u32;
    let is_training_taken = request.trains_on_cpu(offer.gpus.len()) && !room.cpu_training;
    wanted.saturating_sub(fitting) + u32::from(room.slots == 0) + u32::from(is_training_taken)
}

/// What a task lacks on a worker that could take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lacking {
    /// Some of these GPUs; whoever has one has a slot, too.
    Gpus(Vec<u32>),
    /// The processor's place for training.
    CpuTraining,
    /// No more than a slot.
    Slot,
}

/// The scarcest of what a task lacks.
pub(super) fn lacking(offer: &Offer, room: &Room, request: &Request, suits: Suits) -> Lacking {
    let free: Vec<u32> = fitting(offer, room, &request.resources, suits).map(|gpu| gpu.index).collect();
    if free.len() < request.gpus_on(offer.gpus.len()) as usize {
        let suitable = offer.gpus.iter().enumerate().filter(|(at, _)| suits(*at)).map(|(_, gpu)| gpu.index);
        return Lacking::Gpus(suitable.filter(|index| !free.contains(index)).collect());
    }
    if request.trains_on_cpu(offer.gpus.len()) && !room.cpu_training { Lacking::CpuTraining } else { Lacking::Slot }
}

/// A GPU that a task could have; the best is the least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    opens: bool,
    spare_bytes: u64,
    index: u32,
    memory_bytes: u64,
}

fn fitting<'a>(
    offer: &'a Offer,
    room: &'a Room,
    resources: &'a Resources,
    suits: Suits<'a>,
) -> impl Iterator<Item = Fit> + 'a {
    offer.gpus.iter().zip(&room.gpus).enumerate().filter_map(move |(at, (gpu, room))| {
        let spare_bytes = room.memory(resources.shared)?.checked_sub(resources.gpu_memory_bytes)?;
        suits(at).then_some(Fit {
            opens: resources.shared && room.used == GpuUse::Free,
            spare_bytes,
            index: gpu.index,
            memory_bytes: gpu.memory_bytes,
        })
    })
}

/// Whether waiting for what we lent would help.
fn memory_or_busy(offer: &Offer, request: &Request) -> Unfit {
    let resources = &request.resources;
    let Some(last) = (request.gpus_on(offer.gpus.len()) as usize).checked_sub(1) else { return Unfit::Busy };
    let emptied = Room::emptied(offer);
    let suitable = offer.gpus.iter().zip(&emptied.gpus).filter(|(gpu, _)| gpu.suits(resources));
    let mut free: Vec<u64> = suitable.filter_map(|(_, room)| room.memory(false)).collect();
    free.sort_unstable_by_key(|bytes| Reverse(*bytes));
    let largest = free.get(last).copied().unwrap_or_default();
    if largest >= resources.gpu_memory_bytes { Unfit::Busy } else { Unfit::Memory { largest } }
}

impl GpuOffer {
    /// Whether its model and driver will do.
    pub(super) fn suits(&self, resources: &Resources) -> bool {
        resources.is_model_wanted(&self.model) && resources.is_driver_new_enough(&self.driver)
    }
}
