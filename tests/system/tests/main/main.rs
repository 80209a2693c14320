//! The whole system, end to end.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod asking;
mod evaluation;
mod kills;
mod pipeline;
mod search;
mod stranger;
mod troubles;
mod whole_loop;
