//! The inference node's process.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use ursa_inference::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    ursa_telemetry::run(|stop| {
        ursa_inference::run(config, stop, |addresses| {
            // Whoever started us with free ports wants to know which; nobody listening is no harm.
            let line = serde_json::json!({ "http": addresses.http, "grpc": addresses.grpc });
            let _ = writeln!(std::io::stdout(), "{line}");
        })
    })
    .await
}
