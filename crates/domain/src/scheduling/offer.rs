//! What workers have to offer, and what tasks ask for.

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
    /// Its GPUs; those beyond the first 64 are left alone.
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
    /// What of it is really free, in bytes, as measured: what our own tasks use is not.
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

impl GpuUse {
    /// What is lent of it once a task with these needs has it, too.
    #[must_use]
    pub fn lend(self, resources: &Resources) -> Self {
        let bytes = resources.gpu_memory_bytes;
        match self {
            _ if !resources.shared => Self::Exclusive,
            Self::Exclusive => Self::Exclusive,
            Self::Free => Self::Shared { bytes },
            Self::Shared { bytes: before } => Self::Shared { bytes: before.saturating_add(bytes) },
        }
    }
}

impl Request {
    /// How many GPUs of a worker with `has` it takes.
    pub(super) fn gpus_on(&self, has: usize) -> u32 {
        self.gpus().unwrap_or_else(|| u32::from(self.kind.learns() && has > 0))
    }

    /// How many GPUs it takes, where that does not depend on the worker. Training that says what its GPU must be like
    /// does not do without one.
    pub(super) fn gpus(&self) -> Option<u32> {
        let is_particular = self.kind.learns() && self.resources.describes_gpu();
        self.resources.gpus.or(is_particular.then_some(1))
    }

    /// Whether it takes the processor's place for training on a worker with `has` GPUs.
    pub(super) fn trains_on_cpu(&self, has: usize) -> bool {
        self.kind.learns() && self.gpus_on(has) == 0
    }

    /// Whether it takes a GPU where there is one and does without where there is none.
    pub(super) fn is_flexible(&self) -> bool {
        self.kind.learns() && self.gpus().is_none()
    }
}

impl GpuOffer {
    /// The most that could be free if nothing of ours were on it, in bytes.
    pub(super) fn ceiling(&self) -> u64 {
        if self.used == GpuUse::Free { self.free_bytes } else { self.memory_bytes }
    }

    pub(super) fn has_driver_and_model_of(&self, other: &Self) -> bool {
        self.model == other.model && self.driver == other.driver
    }
}
