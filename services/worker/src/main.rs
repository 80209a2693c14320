//! The worker's process.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use ursa_worker::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    ursa_telemetry::run(|stop| {
        ursa_worker::run(config, stop, |id| {
            // Whoever started us may want to know who we are; nobody listening is no harm.
            let _ = writeln!(std::io::stdout(), r#"{{"worker_id":"{id}"}}"#);
        })
    })
    .await
}
