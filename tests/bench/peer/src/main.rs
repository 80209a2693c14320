//! The peer that Ursa's dispatch is measured beside: `graphile_worker`, doing nothing on the same Postgres.
//!
//! - `options`: how the crate is set up, and why so. `job`: the job that does nothing, and when each one started.
//! - `peer`: the crate's tables and its worker. `throughput`, `latency`: what is measured.
//!
//! Prints one JSON object. Whether a commit is on disk is for the server to say: nothing here changes that.

#![expect(clippy::print_stdout, reason = "prints its figures")]

mod job;
mod latency;
mod options;
mod peer;
mod throughput;

use std::num::NonZeroUsize;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use options::Options;

/// Measures `graphile_worker` on jobs that do nothing.
#[derive(Debug, Parser)]
struct Arguments {
    /// Postgres to work on. The schema `graphile_worker` that is there is dropped first.
    #[arg(long)]
    database_url: String,
    /// What to measure.
    #[arg(long)]
    mode: Mode,
    /// Jobs at a time.
    #[arg(long, default_value = "24")]
    workers: NonZeroUsize,
    /// Jobs in all.
    #[arg(long, default_value = "20000")]
    jobs: NonZeroUsize,
    /// Jobs that are added per second, when latency is measured.
    #[arg(long, default_value = "50", value_parser = positive)]
    rate: f64,
    /// Fetch and complete many at once.
    #[arg(long)]
    batched: bool,
    /// Add the jobs one by one while the worker works, from so many callers; else all are added before. For throughput.
    #[arg(long)]
    callers: Option<NonZeroUsize>,
    /// Jobs that are queued besides and not due for a month.
    #[arg(long, default_value_t = 0)]
    fill: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Jobs per second.
    Throughput,
    /// From just before a job is added to the start of its handler.
    Latency,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    peer: &'static str,
    version: &'static str,
    mode: Mode,
    batched: bool,
    jobs: NonZeroUsize,
    fill: usize,
    options: &'a Options,
    #[serde(flatten)]
    figures: Value,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let options = Options::choose(&arguments);
    let figures = match arguments.mode {
        Mode::Throughput => throughput::measure(&arguments, &options).await?,
        Mode::Latency => latency::measure(&arguments, &options).await?,
    };
    let Arguments { mode, batched, jobs, fill, .. } = arguments;
    let report =
        Report { peer: "graphile_worker", version: version()?, mode, batched, jobs, fill, options: &options, figures };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// The crate's version, as it is locked.
fn version() -> anyhow::Result<&'static str> {
    let (_, package) = include_str!("../Cargo.lock")
        .split_once("name = \"graphile_worker\"\nversion = \"")
        .context("Cargo.lock does not name graphile_worker")?;
    package.split('"').next().context("Cargo.lock is cut short")
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("must be a number above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_fit_together() {
        super::Arguments::command().debug_assert();
    }

    #[test]
    fn the_version_is_the_locked_one() {
        let version = super::version().unwrap();
        assert_eq!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{version}");
    }

    #[test]
    fn a_rate_is_above_nought() {
        assert_eq!(super::positive("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "nan", "many"] {
            assert!(super::positive(text).is_err(), "{text}");
        }
    }
}
