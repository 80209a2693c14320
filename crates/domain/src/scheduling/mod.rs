//! Who works on what: what a task needs of a worker, whether a worker has it, which task is next, and why one waits.
//!
//! - `resources`: what a task needs. `placement`: whether and where a worker has it.
//! - `assign`: the next tasks for the workers that have room: fair between projects, urgent first, nobody starves.
//! - `preempt`: what to ask back for a more urgent task. `explain`: why a task waits.

mod assign;
mod explain;
mod placement;
mod preempt;
mod resources;

pub use assign::{Assignment, LaneView, PRIORITY_STEP, Plan, ProjectView, RESERVE_AFTER, assign};
pub use explain::{Hold, explain};
pub use placement::{GpuOffer, GpuUse, Offer, Request, Unfit, could_ever_place, place};
pub use preempt::{Running, preempt};
pub use resources::Resources;
