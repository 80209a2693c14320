//! The system as it runs for users: real processes, a real Postgres, a real object store, and the demo web to scrape.
//!
//! Everything is started on free ports, killed with SIGKILL at a test's word, and gone when the test ends, whatever the
//! test does. Nothing here reaches into a process: tests see what any client of the API sees.

mod process;
mod system;

pub use process::Process;
pub use system::{Store, System};
pub use ursa_cluster::logs;
