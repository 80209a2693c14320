//! What a round is told of lanes and projects.

use std::time::Duration;

use uuid::Uuid;

use super::explain::Hold;
use super::placement::Request;
use crate::JobKind;

/// What one level of priority is worth in waiting.
pub const PRIORITY_STEP: Duration = Duration::from_mins(10);
/// After so long a task that needs several things at once has them kept free for it.
pub const RESERVE_AFTER: Duration = Duration::from_mins(1);

/// Ready tasks that are interchangeable.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneView {
    /// Its id.
    pub id: i64,
    /// Whose tasks they are.
    pub project: String,
    /// Their kind.
    pub kind: JobKind,
    /// Their priority; higher goes first.
    pub priority: i32,
    /// What each needs.
    pub request: Request,
    /// How many there are at least.
    pub ready: u32,
    /// When the first became ready, in seconds since the epoch.
    pub head_ready_at: f64,
    /// Tasks to be placed together, each on another worker; 1 is none.
    pub gang: u32,
    /// Whether its queue is paused.
    pub paused: bool,
}

/// What a project may have, and has.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectView {
    /// Its name.
    pub name: String,
    /// Its share beside the others'.
    pub weight: f64,
    /// Tasks at work.
    pub running: u32,
    /// GPUs at work.
    pub gpus: u32,
    /// Tasks at a time.
    pub max_running: Option<u32>,
    /// GPUs at a time.
    pub max_gpus: Option<u32>,
    /// Whether nothing more begins.
    pub paused: bool,
}

/// A worker that was asked to make room for a lane: until the lane has its place, nobody else gets what it needs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The worker.
    pub worker: Uuid,
    /// The lane's id.
    pub lane: i64,
}

/// A part of a project's quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Need {
    /// Tasks at a time.
    pub(super) tasks: u32,
    /// GPUs at a time.
    pub(super) gpus: u32,
}

impl LaneView {
    /// Smaller is more urgent, in seconds.
    pub fn rank(&self) -> f64 {
        let rank = self.head_ready_at - f64::from(self.priority) * PRIORITY_STEP.as_secs_f64();
        if rank.is_nan() { f64::INFINITY } else { rank }
    }
}

impl ProjectView {
    /// What holds up `tasks` more tasks with `gpus` more GPUs in all, whoever is free.
    pub fn hold(&self, tasks: u32, gpus: u32) -> Option<Hold> {
        let exceeds = |has: u32, more: u32, max: Option<u32>| max.filter(|max| has.saturating_add(more) > *max);
        if self.paused {
            return Some(Hold::ProjectPaused);
        }
        if let Some(max) = exceeds(self.running, tasks, self.max_running) {
            return Some(Hold::RunningQuota(max));
        }
        exceeds(self.gpus, gpus, self.max_gpus).filter(|_| gpus > 0).map(Hold::GpuQuota)
    }

    /// One that nobody said anything about.
    pub(super) fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            weight: 1.0,
            running: 0,
            gpus: 0,
            max_running: None,
            max_gpus: None,
            paused: false,
        }
    }

    /// Whether something would if nothing of it were at work.
    pub(super) fn ever_holds(&self, need: Need) -> bool {
        Self { running: 0, gpus: 0, ..self.clone() }.hold(need.tasks, need.gpus).is_some()
    }

    /// Tasks at work, or GPUs.
    pub(super) fn used(&self, lends_gpus: bool) -> f64 {
        f64::from(if lends_gpus { self.gpus } else { self.running })
    }

    /// What is no weight counts as next to none.
    pub(super) fn weight(&self) -> f64 {
        if self.weight > 0.0 { self.weight } else { f64::MIN_POSITIVE }
    }

    /// What it has of what it may have by its weight.
    pub(super) fn share(&self, lends_gpus: bool) -> f64 {
        self.used(lends_gpus) / self.weight()
    }
}
