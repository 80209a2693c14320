//! One file per command.

pub(crate) mod datasets;
pub(crate) mod endpoints;
pub(crate) mod jobs;
pub(crate) mod models;
pub(crate) mod nodes;
pub(crate) mod pages;
pub(crate) mod pipeline;
pub(crate) mod predict;
pub(crate) mod project;
pub(crate) mod queue;
pub(crate) mod rerun;
pub(crate) mod schedule;
pub(crate) mod tasks;
pub(crate) mod up;
mod watch;
pub(crate) mod webhook;
pub(crate) mod worker;

/// A command that cannot be meant: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub String);
