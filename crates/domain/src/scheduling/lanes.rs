//! Who wants something: lanes of ready tasks, the projects they belong to, and what holds them up whoever is free.

use std::fmt;
use std::time::Duration;

use super::offer::Request;
use crate::JobKind;

/// What one level of priority is worth in waiting.
pub const PRIORITY_STEP: Duration = Duration::from_mins(10);

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
    /// How many there are at least; where they go together, those of the first job.
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

/// What holds a task up, whoever is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Its project is paused.
    ProjectPaused,
    /// The queue of its kind is paused.
    QueuePaused,
    /// The project has as many tasks at work as it may.
    RunningQuota(u32),
    /// The project has as many GPUs at work as it may.
    GpuQuota(u32),
}

impl Hold {
    /// Whether somebody's word ends it, and nothing else.
    pub fn is_pause(self) -> bool {
        matches!(self, Self::ProjectPaused | Self::QueuePaused)
    }
}

impl LaneView {
    /// Smaller is more urgent, in seconds: waiting makes up for priority.
    pub fn rank(&self) -> f64 {
        self.head_ready_at - f64::from(self.priority) * PRIORITY_STEP.as_secs_f64()
    }

    /// Tasks that are placed at once.
    pub(super) fn at_once(&self) -> u32 {
        self.gang.max(1)
    }

    /// What is placed at once takes so much of the project's quotas. A task that can do without a GPU takes none.
    pub(super) fn need(&self) -> Need {
        let gpus = self.request.gpus().unwrap_or(0);
        Need { tasks: self.at_once(), gpus: gpus.saturating_mul(self.at_once()) }
    }
}

/// A part of a project's quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Need {
    pub(super) tasks: u32,
    pub(super) gpus: u32,
}

impl ProjectView {
    /// A project of which nothing is known: one like any other, without quotas.
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

    /// The quota that `need` does not fit in any more.
    pub(super) fn exceeded_by(&self, need: Need) -> Option<Hold> {
        let over = |max: Option<u32>, used: u32, more: u32| max.filter(|max| used.saturating_add(more) > *max);
        over(self.max_running, self.running, need.tasks).map(Hold::RunningQuota).or_else(|| {
            // A task that needs no GPU is not held up by them.
            over(self.max_gpus, self.gpus, need.gpus).filter(|_| need.gpus > 0).map(Hold::GpuQuota)
        })
    }
}

/// What holds a lane's next task up, whoever is free: pauses and its project's quotas.
pub fn hold(lane: &LaneView, project: &ProjectView) -> Option<Hold> {
    if project.paused {
        return Some(Hold::ProjectPaused);
    }
    if lane.paused {
        return Some(Hold::QueuePaused);
    }
    project.exceeded_by(lane.need())
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, of) = match self {
            Self::ProjectPaused => return f.write_str("the project is paused"),
            Self::QueuePaused => return f.write_str("the queue is paused"),
            Self::RunningQuota(max) => (max, "running task"),
            Self::GpuQuota(max) => (max, "GPU"),
        };
        let plural = if *max == 1 { "" } else { "s" };
        write!(f, "the project's quota of {max} {of}{plural} is used up")
    }
}
