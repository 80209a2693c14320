//! Whether a worker has what a task needs, and which of its GPUs it gets.

use super::offer::{Offer, Request};
use super::room::Room;

/// Where on a worker a task goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Numbers of the GPUs it gets.
    pub gpus: Vec<u32>,
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
    NoGpu {
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
        largest_bytes: u64,
    },
    /// It could, but not now.
    Busy,
}

/// GPUs of a worker, by their place in its offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct GpuSet(u64);

impl GpuSet {
    pub(super) fn contains(self, position: usize) -> bool {
        position < 64 && self.0 & (1 << position) != 0
    }

    fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    fn of(offer: &Offer, mut fits: impl FnMut(usize) -> bool) -> Self {
        Self((0..offer.gpus.len().min(64)).fold(0, |set, position| set | u64::from(fits(position)) << position))
    }
}

/// The GPUs that a task gets of a worker: those with the least memory to spare, so that the large ones stay free; of
/// those that can be shared, the ones that are already.
///
/// # Errors
/// Why it cannot have a place there now.
pub fn place(offer: &Offer, request: &Request) -> Result<Placement, Unfit> {
    let suitable = suitable(offer, request)?;
    let room = Room::new(offer);
    let spot = room.spot(request, suitable).ok_or(Unfit::Busy)?;
    Ok(Placement { gpus: room.numbers(&spot) })
}

/// Whether a worker could take a task if nothing of ours were on it.
///
/// # Errors
/// Why it never could.
pub fn could_ever_place(offer: &Offer, request: &Request) -> Result<(), Unfit> {
    suitable(offer, request).map(drop)
}

/// The GPUs that could do, from everything that does not change with what of ours is on the worker.
pub(super) fn suitable(offer: &Offer, request: &Request) -> Result<GpuSet, Unfit> {
    if !offer.kinds.contains(&request.kind) {
        return Err(Unfit::Kind);
    }
    if offer.draining {
        return Err(Unfit::Draining);
    }
    if !has_labels(offer, request) {
        return Err(Unfit::Labels);
    }
    let wanted = request.gpus_on(offer.gpus.len()) as usize;
    if wanted == 0 {
        return Ok(GpuSet::default());
    }
    if offer.gpus.len() < wanted {
        return Err(Unfit::NoGpu { has: offer.gpus.len() as u32 });
    }
    suitable_gpus(offer, request, wanted)
}

fn suitable_gpus(offer: &Offer, request: &Request, wanted: usize) -> Result<GpuSet, Unfit> {
    let resources = &request.resources;
    let models = same_for_equals(offer, |position| resources.is_model_wanted(&offer.gpus[position].model));
    if models.len() < wanted {
        return Err(Unfit::Model);
    }
    let drivers = same_for_equals(offer, |position| resources.is_driver_new_enough(&offer.gpus[position].driver));
    let right = GpuSet(models.0 & drivers.0);
    if right.len() < wanted {
        return Err(Unfit::Driver);
    }
    let enough = |position: usize| offer.gpus[position].ceiling() >= resources.gpu_memory_bytes;
    let large = GpuSet::of(offer, |position| right.contains(position) && enough(position));
    if large.len() < wanted {
        let ceilings = offer.gpus.iter().enumerate().filter(|(position, _)| right.contains(*position));
        let largest_bytes = ceilings.map(|(_, gpu)| gpu.ceiling()).max().unwrap_or_default();
        return Err(Unfit::Memory { largest_bytes });
    }
    Ok(large)
}

/// The set of the GPUs that pass; a GPU like the one before is not looked at again.
fn same_for_equals(offer: &Offer, passes: impl Fn(usize) -> bool) -> GpuSet {
    let mut before: Option<(usize, bool)> = None;
    GpuSet::of(offer, |position| {
        let is_like = |other: usize| offer.gpus[position].has_driver_and_model_of(&offer.gpus[other]);
        let answer = match before {
            Some((other, answer)) if is_like(other) => answer,
            _ => passes(position),
        };
        before = Some((position, answer));
        answer
    })
}

fn has_labels(offer: &Offer, request: &Request) -> bool {
    let has = |(name, value): (&String, &String)| {
        offer.labels.get(name).is_some_and(|found| value.is_empty() || found == value)
    };
    request.resources.labels.iter().all(has) && !request.resources.avoid_labels.iter().any(has)
}
