//! The coordinator with a real Postgres and a real store, and workers and nodes in the tests' hands.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_input;
mod bad_rows;
mod claims;
mod fixture;
mod leases;
mod locks;
mod pipeline;
mod restarts;
mod results;
mod wake_ups;
