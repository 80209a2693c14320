//! The next tasks for the workers that have room.
//!
//! Again and again, the project with the smallest share of what its weight entitles it to gets its most urgent task that
//! fits anywhere. Urgency is when a task became ready, less [`PRIORITY_STEP`] for every level of priority. A task that
//! fits nowhere now does not hold up those that do; what keeps it from waiting for ever is in `promises`.
//!
//! [`PRIORITY_STEP`]: super::PRIORITY_STEP

use uuid::Uuid;

use super::lanes::{LaneView, ProjectView};
use super::offer::Offer;
use super::promises::Promises;

/// One task for one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The lane it comes from.
    pub lane: i64,
    /// Who gets it.
    pub worker: Uuid,
    /// With which GPUs.
    pub gpus: Vec<u32>,
    /// Those with the same number go together.
    pub gang: Option<usize>,
}

/// Who gets what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In the order in which they were given out.
    pub assignments: Vec<Assignment>,
    /// Lanes whose next task fits nowhere now, though nothing else holds it up; most urgent first.
    pub blocked: Vec<i64>,
    /// Workers on which something is kept free for one of those.
    pub reserved: Vec<Uuid>,
}

/// Gives out at most `limit` tasks. `now` is in seconds since the epoch.
///
/// It remembers nothing: who plans again and again does better with [`Promises::assign`].
pub fn assign(lanes: &[LaneView], projects: &[ProjectView], offers: &[Offer], now: f64, limit: usize) -> Plan {
    Promises::default().assign(lanes, projects, offers, now, limit)
}
