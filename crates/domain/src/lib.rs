//! Ursa's rules: life cycles, leases, retry policy, planning, splits, recipes.
//!
//! Everything here is a value in and a value out. No tokio, sqlx or tonic; the clock and randomness are arguments.
//! What a service decides, it decides by calling this crate; what it does about the decision is its own affair.

pub mod checkpoints;
pub mod conditions;
pub mod duplicates;
pub mod error_class;
pub mod evaluation;
pub mod explanation;
pub mod inheritance;
pub mod interpret;
pub mod lifecycle;
pub mod pipeline;
pub mod plan;
pub mod policy;
pub mod proportion;
pub mod recipe;
pub mod retry;
pub mod run;
pub mod runs;
pub mod schedule;
pub mod scheduling;
pub mod search;
pub mod setting;
pub mod sgd_lab;
pub mod size;
pub mod sources;
pub mod spec;
pub mod split;
pub mod webhook;

pub use error_class::ErrorClass;
pub use spec::{JobKind, JobSpec};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The right to work on one attempt of a task. Whoever presents a lease that is no longer current can change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The task that is worked on.
    pub task_id: Uuid,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Drawn anew for every attempt: what makes a lease impossible to guess or to confuse with a later one.
    pub token: Uuid,
}
