//! What is left of an offer while places are given out, and what would be left if some were given back.
//!
//! A GPU's free memory is measured: what running tasks and other people's programs use of it is taken off already. A
//! task that was given a place a moment ago has not taken its memory yet, so that comes off here.

use super::Resources;
use super::placement::{GpuUse, Offer, Request};
use super::preempt::Running;
use crate::JobKind;

/// All of an offer that changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Room {
    /// Tasks it has room for.
    pub(super) slots: u32,
    /// Whether no training run without a GPU is on it.
    pub(super) cpu_training: bool,
    /// In the order of the offer's.
    pub(super) gpus: Vec<GpuRoom>,
}

/// All of a GPU that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GpuRoom {
    memory_bytes: u64,
    free_bytes: u64,
    /// What was lent of it.
    pub(super) used: GpuUse,
}

impl Room {
    /// What there is now.
    pub(super) fn of(offer: &Offer) -> Self {
        let gpu = |gpu: &super::GpuOffer| GpuRoom {
            memory_bytes: gpu.memory_bytes,
            free_bytes: gpu.free_bytes.min(gpu.memory_bytes),
            used: gpu.used,
        };
        Self { slots: offer.slots, cpu_training: offer.cpu_training, gpus: offer.gpus.iter().map(gpu).collect() }
    }

    /// What there would be with none of our tasks on it.
    pub(super) fn emptied(offer: &Offer) -> Self {
        let mut room = Self::of(offer);
        room.slots = room.slots.max(1);
        room.cpu_training = true;
        for gpu in &mut room.gpus {
            gpu.empty();
        }
        room
    }

    /// Gives a task its place.
    pub(super) fn lend(&mut self, offer: &Offer, request: &Request, gpus: &[u32]) {
        self.slots = self.slots.saturating_sub(1);
        self.cpu_training &= !request.trains_on_cpu(offer.gpus.len());
        for gpu in self.gpus_mut(offer, gpus) {
            gpu.lend(&request.resources);
        }
    }

    /// Takes a task's place back.
    pub(super) fn take_back(&mut self, offer: &Offer, attempt: &Running) {
        self.slots += 1;
        self.cpu_training |= attempt.kind == JobKind::Train && attempt.gpus.is_empty();
        for gpu in self.gpus_mut(offer, &attempt.gpus) {
            gpu.take_back(attempt.shared_bytes);
        }
    }

    fn gpus_mut<'a>(&'a mut self, offer: &'a Offer, wanted: &'a [u32]) -> impl Iterator<Item = &'a mut GpuRoom> {
        let pairs = self.gpus.iter_mut().zip(&offer.gpus);
        pairs.filter(|(_, gpu)| wanted.contains(&gpu.index)).map(|(room, _)| room)
    }
}

impl GpuRoom {
    /// Memory that a task could have, in bytes: what is really free, and no more than was not promised to others.
    pub(super) fn memory(self, shared: bool) -> Option<u64> {
        match self.used {
            GpuUse::Free => Some(self.free_bytes),
            GpuUse::Shared { bytes } if shared => Some(self.free_bytes.min(self.memory_bytes.saturating_sub(bytes))),
            GpuUse::Shared { .. } | GpuUse::Exclusive => None,
        }
    }

    fn lend(&mut self, resources: &Resources) {
        let asked = resources.gpu_memory_bytes;
        self.free_bytes = self.free_bytes.saturating_sub(asked);
        self.used = match self.used {
            GpuUse::Free if resources.shared => GpuUse::Shared { bytes: asked },
            GpuUse::Shared { bytes } if resources.shared => GpuUse::Shared { bytes: bytes.saturating_add(asked) },
            _ => GpuUse::Exclusive,
        };
    }

    /// What was used is not free yet, but will be.
    fn take_back(&mut self, shared_bytes: u64) {
        match self.used {
            GpuUse::Shared { bytes } if bytes > shared_bytes => {
                self.used = GpuUse::Shared { bytes: bytes - shared_bytes };
                self.free_bytes = self.free_bytes.saturating_add(shared_bytes).min(self.memory_bytes);
            }
            GpuUse::Exclusive if shared_bytes > 0 => {}
            _ => self.empty(),
        }
    }

    /// Of what is in use, only that counts as other people's which our tasks did not ask for.
    fn empty(&mut self) {
        self.free_bytes = match self.used {
            GpuUse::Free => self.free_bytes,
            GpuUse::Shared { bytes } => self.free_bytes.saturating_add(bytes).min(self.memory_bytes),
            GpuUse::Exclusive => self.memory_bytes,
        };
        self.used = GpuUse::Free;
    }
}
