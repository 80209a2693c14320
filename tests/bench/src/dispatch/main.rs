//! `make bench-dispatch`: how fast tasks that do nothing go through the whole of Ursa, beside `graphile_worker` on the
//! same Postgres, in the same run.
//!
//! - `ground`: a Postgres that syncs every commit, a coordinator and workers as processes; what they use of the machine.
//! - `fleet`, `throughput`, `latency`, `full`, `hold`: what is measured. `attendant`: one of thousands of idle workers.
//! - `turns`: what is compared, in turns. `tables`: how full they are. `starts`: when tasks began, by a worker's log. `plans`: how Postgres went about claims.
//! - `peer`: the same of `graphile_worker`.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod attendant;
mod fleet;
mod full;
mod ground;
mod hold;
mod latency;
mod peer;
mod plans;
mod starts;
mod tables;
mod throughput;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use ursa_bench::report::Report;

use ground::Ground;
use tables::Tables;
use turns::{TURNS, Turns};

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
    /// Tasks of one latency measurement with nothing else to do.
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
    /// How long a transaction is held open in the full measurement, besides what that takes.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    hold: Duration,
    /// Only these measurements: fleet, throughput, latency, full. The last is the two before it twice, with empty tables and
    /// with full ones.
    #[arg(long, value_delimiter = ',', value_parser = ["fleet", "throughput", "latency", "full"])]
    only: Vec<String>,
}

impl Arguments {
    fn wants(&self, what: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == what)
    }

    /// Jobs of one throughput measurement with one task per job.
    fn jobs(&self) -> u32 {
        self.tasks / 10
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Arguments::parse()).await {
        // Missed aims are said, and stand in the file: but for what must hold, a figure is no failure of the run.
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
    if arguments.wants("fleet") {
        fleet::measure(arguments, &mut ground, &mut report).await?;
    }
    if arguments.wants("full") {
        full::measure(arguments, &mut ground, &mut report).await?;
    } else {
        let mut turns = Turns::new(Tables::Empty, arguments.wants("throughput"), arguments.wants("latency"));
        for _ in 0..TURNS {
            turns.take(arguments, &mut ground).await?;
        }
        turns.tell(arguments, &mut ground, &mut report)?;
    }
    report.write(&arguments.output)
}
