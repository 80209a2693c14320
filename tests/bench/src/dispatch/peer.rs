//! `graphile_worker` on the same Postgres: a program of its own, so that it has its own runtime as a user's would.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::Arguments;
use crate::ground::Ground;
use crate::latency::Percentiles;
use crate::tables::Tables;
use crate::throughput::FEW;

/// Of the crate that the program is built with.
pub(crate) const VERSION: &str = "0.14.1";

/// Its jobs per second, `slots` at a time; `how` are flags of its program.
pub(crate) fn throughput(
    arguments: &Arguments,
    ground: &Ground,
    tables: Tables,
    slots: u32,
    jobs: u32,
    how: &[&str],
) -> anyhow::Result<f64> {
    let (slots, jobs) = (slots.to_string(), jobs.to_string());
    let flags = ["--mode", "throughput", "--workers", &slots, "--jobs", &jobs];
    figure(&run(arguments, ground, tables, &[&flags[..], how].concat())?, "jobs_per_second")
}

/// From just before one of `jobs` jobs is added to the start of its handler, at `rate` per second.
pub(crate) fn latency(
    arguments: &Arguments,
    ground: &Ground,
    tables: Tables,
    jobs: u32,
    rate: f64,
) -> anyhow::Result<Percentiles> {
    let (slots, jobs, rate) = (FEW.to_string(), jobs.to_string(), rate.to_string());
    let flags = ["--mode", "latency", "--workers", &slots, "--jobs", &jobs, "--rate", &rate, "--batched"];
    let figures = run(arguments, ground, tables, &flags)?;
    let at = |name| figure(&figures, name);
    Ok(Percentiles { p50: at("p50_ms")?, p99: at("p99_ms")?, max: at("max_ms")? })
}

fn run(arguments: &Arguments, ground: &Ground, tables: Tables, flags: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new(&arguments.peer)
        .args(["--database-url", &ground.database_url(), "--fill", &tables.queued(arguments).to_string()])
        .args(flags)
        .output()
        .with_context(|| format!("{} cannot be run", arguments.peer.display()))?;
    ensure!(output.status.success(), "the peer failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn figure(figures: &Value, name: &str) -> anyhow::Result<f64> {
    figures[name].as_f64().with_context(|| format!("the peer did not tell {name}"))
}
