//! What is left of a worker while a plan takes shape.

use std::cmp::Reverse;

use super::offer::{GpuOffer, GpuUse, Offer, Request};
use super::placement::GpuSet;

/// What is left of a worker. Giving only ever makes it less.
#[derive(Debug, Clone)]
pub(super) struct Room<'a> {
    pub(super) offer: &'a Offer,
    pub(super) slots: u32,
    cpu_training: bool,
    gpus: Vec<GpuRoom>,
}

#[derive(Debug, Clone, Copy)]
struct GpuRoom {
    used: GpuUse,
    free_bytes: u64,
}

/// Where on a worker a task could go, and how much one would like that.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    /// Places of its GPUs in the offer.
    gpus: Vec<usize>,
    /// Smaller is better.
    pub(super) cost: Cost,
}

/// What speaks against a spot, compared with spots on other workers: the first thing matters most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    /// A task that can do without a GPU gets one if there is any.
    WithGpus {
        /// Sharing a GPU that nobody uses yet.
        is_fresh: bool,
        /// Large GPUs stay free for tasks that need them.
        bytes: u64,
        /// Workers with many free GPUs stay free for tasks that need many.
        gpus_left: usize,
        /// Spread what is equal.
        slots: Reverse<u32>,
    },
    /// Of tasks without one.
    WithoutGpus {
        /// Spread, but leave a slot for every GPU that nobody uses.
        spare_slots: Reverse<u32>,
        /// Leave workers with GPUs alone.
        has_gpus: bool,
    },
}

impl GpuRoom {
    /// Memory that one more task could have, in bytes.
    ///
    /// What was measured as free may or may not reckon with what the tasks here will use of what they asked for, so
    /// neither figure may be exceeded.
    fn room(self, memory_bytes: u64, shared: bool) -> Option<u64> {
        match self.used {
            GpuUse::Free => Some(self.free_bytes),
            GpuUse::Shared { bytes } if shared => Some(self.free_bytes.min(memory_bytes.saturating_sub(bytes))),
            GpuUse::Shared { .. } | GpuUse::Exclusive => None,
        }
    }

    fn lend(&mut self, request: &Request) {
        self.used = self.used.lend(&request.resources);
        self.free_bytes = self.free_bytes.saturating_sub(request.resources.gpu_memory_bytes);
    }

    fn take_back(&mut self, memory_bytes: u64, shared_bytes: u64) {
        match self.used {
            GpuUse::Shared { bytes } if bytes > shared_bytes => {
                self.used = GpuUse::Shared { bytes: bytes - shared_bytes };
                self.free_bytes = self.free_bytes.saturating_add(shared_bytes).min(memory_bytes);
            }
            GpuUse::Shared { .. } | GpuUse::Exclusive => {
                *self = Self { used: GpuUse::Free, free_bytes: memory_bytes };
            }
            GpuUse::Free => {}
        }
    }
}

impl<'a> Room<'a> {
    pub(super) fn new(offer: &'a Offer) -> Self {
        let gpus = offer.gpus.iter().map(|gpu| GpuRoom { used: gpu.used, free_bytes: gpu.free_bytes }).collect();
        Self { offer, slots: offer.slots, cpu_training: offer.cpu_training, gpus }
    }

    /// Where a task would go, given the GPUs that could do for it.
    pub(super) fn spot(&self, request: &Request, suitable: GpuSet) -> Option<Spot> {
        let has = self.gpus.len();
        if self.slots == 0 || (request.trains_on_cpu(has) && !self.cpu_training) {
            return None;
        }
        match request.gpus_on(has) as usize {
            0 => Some(Spot { gpus: Vec::new(), cost: self.cost_without_gpus() }),
            wanted => self.spot_with_gpus(request, suitable, wanted),
        }
    }

    fn spot_with_gpus(&self, request: &Request, suitable: GpuSet, wanted: usize) -> Option<Spot> {
        let mut fitting = self.fitting(request, suitable);
        if fitting.len() < wanted {
            return None;
        }
        fitting.sort_unstable();
        let gpus_left = fitting.len() - wanted;
        fitting.truncate(wanted);
        let shared = request.resources.shared;
        let size = |(_, room, position): &(bool, u64, usize)| {
            if shared { *room } else { self.offer.gpus[*position].memory_bytes }
        };
        let cost = Cost::WithGpus {
            is_fresh: fitting.iter().any(|(is_fresh, ..)| *is_fresh),
            bytes: fitting.iter().map(size).max().unwrap_or_default(),
            gpus_left,
            slots: Reverse(self.slots),
        };
        Some(Spot { gpus: fitting.into_iter().map(|(.., position)| position).collect(), cost })
    }

    /// The GPUs that have room, in no order: whether sharing one would break into it, its room, its place.
    fn fitting(&self, request: &Request, suitable: GpuSet) -> Vec<(bool, u64, usize)> {
        let resources = &request.resources;
        let fits = |(position, gpu): (usize, &GpuRoom)| {
            let room = gpu.room(self.offer.gpus[position].memory_bytes, resources.shared)?;
            let is_fresh = resources.shared && gpu.used == GpuUse::Free;
            (room >= resources.gpu_memory_bytes).then_some((is_fresh, room, position))
        };
        self.gpus.iter().enumerate().filter(|(position, _)| suitable.contains(*position)).filter_map(fits).collect()
    }

    fn cost_without_gpus(&self) -> Cost {
        let idle = self.gpus.iter().filter(|gpu| gpu.used == GpuUse::Free).count() as u32;
        Cost::WithoutGpus { spare_slots: Reverse(self.slots.saturating_sub(idle)), has_gpus: !self.gpus.is_empty() }
    }

    /// How many more GPUs would have to have room for a task to fit.
    pub(super) fn gpus_missing(&self, request: &Request, suitable: GpuSet) -> usize {
        let wanted = request.gpus_on(self.gpus.len()) as usize;
        wanted.saturating_sub(if wanted == 0 { 0 } else { self.fitting(request, suitable).len() })
    }

    /// Gives a task its place.
    pub(super) fn lend(&mut self, request: &Request, spot: &Spot) {
        self.take_slot(request);
        for position in &spot.gpus {
            self.gpus[*position].lend(request);
        }
    }

    /// Keeps every GPU that could do from others; and a slot, where GPUs are not what is missing.
    pub(super) fn set_aside(&mut self, request: &Request, suitable: GpuSet, with_slot: bool) {
        if with_slot || self.gpus_missing(request, suitable) == 0 {
            self.take_slot(request);
        }
        for (_, gpu) in self.gpus.iter_mut().enumerate().filter(|(position, _)| suitable.contains(*position)) {
            gpu.used = GpuUse::Exclusive;
        }
    }

    /// Whether several tasks may have to end before one of some GPUs is free.
    pub(super) fn shares_any(&self, gpus: GpuSet) -> bool {
        let is_shared = |gpu: &GpuRoom| matches!(gpu.used, GpuUse::Shared { .. });
        self.gpus.iter().enumerate().any(|(position, gpu)| gpus.contains(position) && is_shared(gpu))
    }

    fn take_slot(&mut self, request: &Request) {
        self.slots = self.slots.saturating_sub(1);
        self.cpu_training &= !request.trains_on_cpu(self.gpus.len());
    }

    /// As if a task had ended that had some GPUs, `shared_bytes` of each if it shared them.
    pub(super) fn take_back(&mut self, gpus: &[u32], shared_bytes: u64, trained_on_cpu: bool) {
        self.slots += 1;
        self.cpu_training |= trained_on_cpu;
        for (gpu, offered) in self.gpus.iter_mut().zip(&self.offer.gpus) {
            if gpus.contains(&offered.index) {
                gpu.take_back(offered.memory_bytes, shared_bytes);
            }
        }
    }

    /// The GPUs' numbers on the machine.
    pub(super) fn numbers(&self, spot: &Spot) -> Vec<u32> {
        let number = |position: &usize| -> &GpuOffer { &self.offer.gpus[*position] };
        spot.gpus.iter().map(|position| number(position).index).collect()
    }
}
