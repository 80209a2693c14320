//! What the tests share.

mod coordinator;
mod order;
mod worker;

use std::time::Duration;

pub(crate) use coordinator::{Coordinator, Seen};
pub(crate) use order::{evaluate, explain, probe, stop, train};
pub(crate) use worker::{Worker, arguments};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
