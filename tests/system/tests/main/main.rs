//! The whole system, end to end.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod asking;
mod duties;
mod evaluation;
mod fencing;
mod kills;
mod pipeline;
mod preemption;
mod rates;
mod search;
mod stranger;
mod troubles;
mod whole_loop;
