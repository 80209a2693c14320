//! The scheduler against what must hold whatever comes, and in whatever order.

mod explaining;
mod ledger;
mod preemption;
mod rounds;
mod simulation;
mod speed;
mod starvation;
mod world;
