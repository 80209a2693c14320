//! A private PostgreSQL server from the machine's installed programs, on a Unix socket only.
//!
//! `ursa up` keeps its database in one, and every test of the coordinator has one of its own. The server belongs to the
//! process that starts it: it ends when its parent does, and one that was left over is stopped before the next start.
//! Nothing here knows what the database holds.
//!
//! Everybody who can enter the socket's folder is trusted. The folder is open to the server's own user alone, which is
//! who could as well read the data's files.

mod cluster;
mod error;
mod leftover;
mod place;
mod programs;
mod server;

pub use cluster::{Cluster, Options};
pub use error::PostgresError;
pub use server::{FAREWELL, Server};
