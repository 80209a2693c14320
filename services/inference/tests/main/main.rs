//! The node as a whole: real packages, a real store, real sockets, and a coordinator that orders what a test says.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod coordination;
mod explaining;
mod fetching;
mod protocol_grpc;
mod protocol_rest;
mod serving;
mod support;
mod trust;
mod uploads;
