//! The demo web's process.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use ursa_demo_web::DemoWebConfig;

#[tokio::main]
async fn main() -> ExitCode {
    let config = DemoWebConfig::parse();
    ursa_telemetry::run(|stop| async move {
        let listening = |address| {
            // Whoever started us with a free port wants to know which; nobody listening is no harm.
            let _ = writeln!(std::io::stdout(), r#"{{"http":"http://{address}"}}"#);
        };
        Ok(ursa_demo_web::run(config, stop, listening).await?)
    })
    .await
}
