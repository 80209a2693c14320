//! The demo web: a small web of our own, with three kinds of bears and all the dirt that a real one has.
//!
//! The demo and the tests scrape it instead of the Internet: it needs no network, draws every picture itself, and knows the
//! truth about each URL it lists. Everything it answers is a pure function of a seed; only what heals on a retry and the
//! counts of requests are state, and they belong to one running instance. It must not need anything of Ursa but its
//! telemetry, so that what it says is true cannot lean on what it tests.

mod class;
mod config;
mod draw;
mod files;
mod kind;
mod lists;
mod page;
mod picture;
mod server;
mod site;
mod truth;
mod web;

pub use class::Class;
pub use config::DemoWebConfig;
pub use kind::Kind;
pub use picture::Picture;
pub use truth::{ListedPicture, Outcome};
pub use web::{DemoWeb, run};
