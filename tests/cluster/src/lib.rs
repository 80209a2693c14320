//! The cluster harness: a private Postgres, a coordinator on a free port, and peers that speak the real protocol and do
//! what a test tells them; and a proxy, for what networks do. Everything it starts ends with it.

mod coordinator;
pub mod logs;
mod peer;
mod postgres;
pub mod proxy;
mod record;
mod wait;

pub use coordinator::Coordinator;
pub use peer::{Node, Worker};
pub use postgres::Postgres;
pub use record::Record;
pub use ursa_coordinator::takeover_time;
pub use wait::until;
