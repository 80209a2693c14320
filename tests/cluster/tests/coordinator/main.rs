//! The coordinator with a real Postgres and a real store, and workers and nodes in the tests' hands.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_input;
mod bad_rows;
mod beats;
mod cancellation;
mod claims;
mod deadlines;
mod duties;
mod evaluation;
mod fairness;
mod fixture;
mod interpretation;
mod learning;
mod leases;
mod lifecycle;
mod locks;
mod logs;
mod pipeline;
mod pipelines;
mod placement;
mod receiver;
mod restarts;
mod results;
mod retention;
mod scaler;
mod schedules;
mod search;
mod several;
mod steering;
mod upgrades;
mod wake_ups;
mod webhooks;
