//! `make bench-dispatch`: how fast tasks that do nothing go through the whole of Ursa, beside `graphile_worker` on the
//! same Postgres, in the same run.
//!
//! - `ground`: a Postgres that syncs every commit, a coordinator and workers as processes; what they use of the machine.
//! - `throughput`, `latency`, `full`, `fleet`: what is measured. `attendant`: a worker in this process, which can tell to
//!   the microsecond when a task came.
//! - `peer`: the same of `graphile_worker`.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod attendant;
mod fleet;
mod full;
mod ground;
mod latency;
mod peer;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use ursa_bench::report::Report;

use ground::Ground;

/// Measures dispatch and writes `target/bench/dispatch.json`.
#[derive(Debug, Parser)]
struct Arguments {
    /// The peer's program.
    #[arg(long, default_value = "target/bench-peer/release/ursa-bench-peer")]
    peer: PathBuf,
    /// Where the figures go.
    #[arg(long, default_value = "target/bench/dispatch.json")]
    output: PathBuf,
    /// Tasks of one throughput measurement.
    #[arg(long, default_value_t = 20_000)]
    tasks: u32,
    /// Tasks of one latency measurement.
    #[arg(long, default_value_t = 500)]
    latency_tasks: u32,
    /// Tasks that are queued in the full measurement.
    #[arg(long, default_value_t = 1_000_000)]
    queued: u32,
    /// Tasks that have finished in the full measurement.
    #[arg(long, default_value_t = 10_000_000)]
    finished: u32,
    /// Workers that are attached in the fleet measurement.
    #[arg(long, default_value_t = 2000)]
    fleet: u32,
    /// Only these measurements: throughput, latency, full, fleet.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

impl Arguments {
    fn wants(&self, what: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == what)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Arguments::parse()).await {
        // Missed aims are said, and stand in the file: a figure is no failure of the run.
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let mut ground = Ground::prepare()?;
    let hardware = json!({"fsyncs_per_second": ground.fsyncs_per_second.round()});
    let versions = json!({
        "postgres": ground.postgres_version,
        "postgres_settings": ground.postgres_settings,
        "graphile_worker": peer::VERSION,
    });
    let mut report = Report::new("graphile_worker", hardware, versions)?;
    if arguments.wants("throughput") {
        throughput::measure(arguments, &mut ground, &mut report).await?;
    }
    if arguments.wants("latency") {
        latency::measure(arguments, &mut ground, &mut report).await?;
    }
    if arguments.wants("full") {
        full::measure(arguments, &mut ground, &mut report).await?;
    }
    if arguments.wants("fleet") {
        fleet::measure(arguments, &mut ground, &mut report).await?;
    }
    report.write(&arguments.output)
}
