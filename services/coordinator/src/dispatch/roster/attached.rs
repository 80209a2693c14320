//! One who is attached, what it has to offer, and what it was given.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use ursa_domain::scheduling::{GpuOffer, GpuUse, Offer, Resources, Running};
use ursa_domain::{JobKind, Lease};
use ursa_proto::v1;
use uuid::Uuid;

use super::{Door, stages};
use crate::store::{ClaimedTask, WorkerReportRow};

/// What was measured of a GPU's memory may not show yet what a task takes that began so lately.
const SETTLING: Duration = Duration::from_mins(1);
/// Most searches take less.
pub(super) const A_SEARCH: Duration = Duration::from_millis(500);

/// What a worker holds, as far as placing others goes.
#[derive(Debug, Clone)]
pub(in crate::dispatch) struct Lent {
    pub(in crate::dispatch) lease: Lease,
    pub(in crate::dispatch) kind: JobKind,
    pub(in crate::dispatch) priority: i32,
    pub(in crate::dispatch) resources: Resources,
    pub(in crate::dispatch) gpus: Vec<u32>,
    pub(in crate::dispatch) preemptible: bool,
    pub(in crate::dispatch) asked_back: bool,
    pub(super) since: Instant,
}

/// Somebody who is attached.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) row: WorkerReportRow,
    pub(super) protocol: u32,
    pub(super) running: Vec<(Lease, v1::Progress, i32)>,
    pub(super) since: Instant,
    pub(super) reported_at: Instant,
    /// Since the last beat that came through.
    pub(super) is_fresh: bool,
    /// What it holds, as far as a search has found out.
    pub(super) found: Option<Vec<Lease>>,
    /// When the next one is due.
    pub(super) search_at: Instant,
    /// Whether a beat since has told of it: nothing is placed before.
    pub(super) is_known: bool,
    /// Whether an operator wants it to take no more.
    pub(super) drain: bool,
    /// When an operator last said so here: what the database said before is older.
    pub(super) drain_said_at: Option<Instant>,
    pub(super) rests_until: Instant,
    pub(super) lent: HashMap<Uuid, Lent>,
    pub(super) door: Door,
    pub(super) number: u64,
}

impl Attached {
    /// The orders to stop that it obeys, by lease.
    pub(super) fn stages(&self) -> BTreeMap<Uuid, i32> {
        stages(&self.running)
    }

    /// So that its first report is the one that a beat asks about what was found with. But that renews its leases, too, and must
    /// not wait for long.
    pub(super) fn has_been_searched(&self, now: Instant) -> bool {
        self.found.is_some() || now.duration_since(self.since) > A_SEARCH
    }

    /// What it is believed to have and does not list.
    pub(super) fn not_listed(&self) -> HashSet<Lease> {
        let listed: HashSet<Uuid> = self.running.iter().map(|(lease, ..)| lease.token).collect();
        let believed = self.lent.values().map(|lent| lent.lease).chain(self.found.iter().flatten().copied());
        believed.filter(|lease| !listed.contains(&lease.token)).collect()
    }

    /// Whether anything may be placed on it.
    pub(super) fn is_there(&self, now: Instant, patience: Duration) -> bool {
        self.is_known && now.duration_since(self.reported_at) < patience && self.rests_until <= now
    }

    pub(super) fn free_slots(&self) -> u32 {
        self.row.slots.saturating_sub(self.lent.len() as u32)
    }

    pub(super) fn offer(&self) -> Offer {
        Offer {
            id: self.row.id,
            kinds: self.row.kinds.clone(),
            slots: self.free_slots(),
            draining: self.row.draining || self.drain,
            labels: self.row.labels.clone(),
            gpus: self.row.gpus.iter().map(|gpu| self.gpu_offer(gpu)).collect(),
            cpu_training: !self.lent.values().any(|lent| lent.kind.learns() && lent.gpus.is_empty()),
        }
    }

    fn gpu_offer(&self, gpu: &v1::Gpu) -> GpuOffer {
        let mine = || self.lent.values().filter(|lent| lent.gpus.contains(&gpu.index));
        let promised: u64 =
            mine().filter(|lent| lent.since.elapsed() < SETTLING).map(|lent| lent.resources.gpu_memory_bytes).sum();
        GpuOffer {
            index: gpu.index,
            model: gpu.model.clone(),
            memory_bytes: gpu.memory_bytes,
            free_bytes: gpu.free_bytes.saturating_sub(promised),
            driver: gpu.driver.clone(),
            used: mine().fold(GpuUse::Free, |used, lent| used.lend(&lent.resources)),
        }
    }
}

impl Lent {
    /// What was just claimed.
    pub(in crate::dispatch) fn claimed(
        task: &ClaimedTask,
        kind: JobKind,
        priority: i32,
        resources: &Resources,
    ) -> Self {
        Self {
            lease: task.lease,
            kind,
            priority,
            resources: resources.clone(),
            gpus: task.gpus.clone(),
            preemptible: task.preemptible,
            asked_back: false,
            since: Instant::now(),
        }
    }

    pub(super) fn running(&self, attached: &Attached) -> Running {
        Running {
            attempt: (self.lease.task_id, self.lease.attempt),
            worker: attached.row.id,
            gpus: self.gpus.clone(),
            shared_bytes: if self.resources.shared { self.resources.gpu_memory_bytes } else { 0 },
            kind: self.kind,
            priority: self.priority,
            preemptible: self.preemptible,
            at_work: self.since.elapsed(),
        }
    }
}
