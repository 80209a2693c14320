//! The command: `make chaos`.
#![expect(clippy::print_stdout, reason = "what happens is for whoever started it")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ursa_chaos::run::{Options, run};

/// Lets everything go wrong, and checks that nothing is lost.
#[derive(Debug, Parser)]
struct Arguments {
    /// Decides what goes wrong, and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long things shall go wrong, in minutes. Whatever is left out, every kind of fault strikes once.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Folder for logs and the report, one for each seed.
    #[arg(long, default_value = "target/chaos")]
    output: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { seed, minutes, output } = Arguments::parse();
    let options = Options { seed, time: Duration::from_secs(60 * minutes), output };
    match run(&options, |line| println!("{line}")).await {
        Ok(report) => {
            println!("{report}");
            if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("seed {seed}: the run itself failed: {error:#}");
            ExitCode::from(2)
        }
    }
}
