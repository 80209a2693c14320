//! The dashboard's process.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use ursa_dashboard::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    ursa_telemetry::run(|stop| {
        ursa_dashboard::run(config, stop, |address| {
            // Whoever started us with a free port wants to know which; nobody listening is no harm.
            let _ = writeln!(std::io::stdout(), r#"{{"http":"http://{address}"}}"#);
        })
    })
    .await
}
