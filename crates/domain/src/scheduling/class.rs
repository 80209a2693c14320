//! Workers of a kind that need not be there yet: what one of them has, as far as anybody says.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::offer::{GpuOffer, GpuUse, Offer, Request};
use super::placement::place;
use super::resources::MAX_GPUS;

/// What one worker of a class has. What is not said is as the task wants it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerClass {
    /// GPUs.
    pub gpus: GpuCount,
    /// Memory of each, in bytes.
    pub gpu_memory_bytes: Option<u64>,
    /// Their model, as the worker tells it.
    pub gpu_model: Option<String>,
    /// Version of their driver.
    pub gpu_driver: Option<String>,
    /// All of its labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// How many GPUs a worker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GpuCount {
    /// Nobody says whether it has any.
    #[default]
    Unsaid,
    /// It has some, as many as a task wants.
    AsWanted,
    /// So many.
    Exactly(u32),
}

impl WorkerClass {
    /// How many GPUs a task would take of such a worker that has nothing else to do. `None` when it could not have a place
    /// there, or when the worker has GPUs and the task takes none: those who have some are there for those who want some.
    pub fn gpus_for(&self, request: &Request) -> Option<u32> {
        let placement = place(&self.offer(request), request).ok()?;
        let taken = placement.gpus.len() as u32;
        match self.gpus {
            GpuCount::AsWanted | GpuCount::Exactly(1..) if taken == 0 => None,
            _ => Some(taken),
        }
    }

    /// Whether something is said of its GPUs beyond their number.
    pub fn describes_gpu(&self) -> bool {
        self.gpu_memory_bytes.is_some() || self.gpu_model.is_some() || self.gpu_driver.is_some()
    }

    /// What a worker offers that has what is said, and else what is asked for.
    fn offer(&self, request: &Request) -> Offer {
        let wanted = &request.resources;
        let count = match self.gpus {
            GpuCount::Unsaid | GpuCount::AsWanted => MAX_GPUS,
            GpuCount::Exactly(count) => count,
        };
        let memory_bytes = self.gpu_memory_bytes.unwrap_or(wanted.gpu_memory_bytes);
        let gpu = |index| GpuOffer {
            index,
            model: self.gpu_model.clone().or_else(|| wanted.gpu_models.first().cloned()).unwrap_or_default(),
            memory_bytes,
            free_bytes: memory_bytes,
            driver: self.gpu_driver.clone().unwrap_or_else(|| wanted.min_driver.clone()),
            used: GpuUse::Free,
        };
        Offer {
            id: Uuid::nil(),
            kinds: vec![request.kind],
            slots: 1,
            draining: false,
            labels: self.labels.clone().unwrap_or_else(|| wanted.labels.clone()),
            gpus: (0..count).map(gpu).collect(),
            cpu_training: true,
        }
    }
}
