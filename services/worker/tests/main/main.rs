//! A worker as a coordinator sees it: with a coordinator that orders what a test says, and a trainer that is a script.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, its helpers too")]

mod coordinators;
mod draining;
mod probes;
mod process;
mod reports;
mod room;
mod support;
mod training;
