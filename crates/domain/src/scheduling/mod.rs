//! Who works on what: what a task needs of a worker, whether a worker has it, which task is next, and why one waits.
//!
//! - `resources`: what a task needs. `placement`: whether and where a worker has it. `room`: what is left of a worker.
//! - `assign`: the next tasks for the workers that have room: fair between projects, urgent first, nobody starves.
//!   `views`: what it is told. `claims`: what it keeps free for those who need much at once. `fitting`: where what fits.
//! - `preempt`: what to ask back for a more urgent task. `explain`: why a task waits.

mod assign;
mod claims;
mod explain;
mod fitting;
mod placement;
mod preempt;
mod resources;
mod room;
mod views;

pub use assign::{Assignment, Plan, assign, assign_keeping};
pub use explain::{Hold, explain};
pub use placement::{GpuOffer, GpuUse, Offer, Request, Unfit, could_ever_place, place};
pub use preempt::{Running, preempt};
pub use resources::Resources;
pub use views::{Keep, LaneView, PRIORITY_STEP, ProjectView, RESERVE_AFTER};
