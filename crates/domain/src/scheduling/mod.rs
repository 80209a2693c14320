//! Who works on what: what a task needs of a worker, whether a worker has it, which task is next, and why one waits.
//!
//! - `resources`: what a task needs. `offer`: what a worker has. `placement`, `room`: whether and where the two meet.
//! - `class`: the same for workers that need not be there yet.
//! - `lanes`: tasks that wait, whose they are, and what holds them up whoever is free.
//! - `assign`: the next tasks for the workers that have room: fair between projects (`accounts`), urgent first, the best
//!   worker for each (`workers`), turn by turn (`round`), and nobody waits for ever (`promises`).
//! - `preempt`: what to ask back for a more urgent task, and what to leave alone. `explain`: why a task waits.

mod accounts;
mod assign;
mod class;
mod explain;
mod lanes;
mod offer;
mod placement;
mod preempt;
mod promises;
mod resources;
mod room;
mod round;
mod workers;

pub use assign::{Assignment, Plan, assign};
pub use class::{GpuCount, WorkerClass};
pub use explain::explain;
pub use lanes::{Hold, LaneView, PRIORITY_STEP, ProjectView, hold};
pub use offer::{GpuOffer, GpuUse, Offer, Request};
pub use placement::{Placement, Unfit, could_ever_place, place};
pub use preempt::{Running, preempt};
pub use promises::{Promises, RESERVE_AFTER, TURN_AFTER};
pub use resources::{MAX_GPUS, Resources};
