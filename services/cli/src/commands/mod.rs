//! One file per command.

pub(crate) mod datasets;
pub(crate) mod endpoints;
pub(crate) mod jobs;
pub(crate) mod models;
pub(crate) mod nodes;
pub(crate) mod pipeline;
pub(crate) mod predict;
pub(crate) mod up;
mod watch;
pub(crate) mod workers;

use ursa_proto::v1;

/// The largest page; commands print one.
#[expect(clippy::unnecessary_wraps, reason = "it is what requests take")]
fn first_page() -> Option<v1::PageRequest> {
    Some(v1::PageRequest { size: 1000, token: String::new() })
}
