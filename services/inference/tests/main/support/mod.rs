//! What the tests share.

mod coordinator;
mod node;
mod package;

pub(crate) use coordinator::Coordinator;
pub(crate) use node::{Node, Setup, ended};
pub(crate) use package::{CLASSES, SIZE, package, picture, reseal, tampered};

/// How long anything may take before the test says that it does not happen.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);
