//! `ursa up`: the whole system on this machine, as separate processes that are watched and restarted.
//!
//! `plan` says what is to run, as a value; `supervise` keeps any service running; the rest is one file per question: where
//! the data are, which ports, which programs, what an earlier `ursa up` left behind, and when everything is ready.

mod announced;
mod data;
mod leftover;
mod plan;
mod ports;
mod postgres;
mod process;
mod programs;
mod readiness;
mod record;
mod summary;
mod supervise;
mod system;

use std::path::PathBuf;

use clap::Args;

use crate::output::Format;
use data::DataFolder;
use plan::Plan;
use programs::Programs;
use system::System;

const COORDINATOR_PORT: u16 = 7400;
const DASHBOARD_PORT: u16 = 7480;

/// What can be chosen.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flags {
    /// Where everything is kept; `$XDG_DATA_HOME/ursa` or `~/.local/share/ursa` unless given.
    #[arg(long, env = "URSA_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// Port of the coordinator; 0 takes a free one. 7400 unless given, or a free one where that is taken.
    #[arg(long)]
    port: Option<u16>,

    /// Port of the dashboard; 0 takes a free one. 7480 unless given, or a free one where that is taken.
    #[arg(long, value_name = "PORT")]
    dashboard_port: Option<u16>,

    /// Inference nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=64))]
    nodes: u16,

    /// Workers. Without any nothing is fetched or trained; what is deployed is served.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=64))]
    workers: u16,

    /// Postgres to use instead of a private one.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,

    /// Object store to use instead of a folder in the data folder: a folder, or `s3://bucket/prefix` with the usual
    /// `AWS_*` variables.
    #[arg(long, env = "URSA_OBJECT_STORE", value_name = "LOCATION")]
    object_store: Option<String>,

    /// Private network that pictures may be fetched from, as CIDR with an optional port, for instance
    /// `127.0.0.1/32:8080`. May be given several times.
    #[arg(long = "allow-network", env = "URSA_ALLOW_NETWORK", value_delimiter = ',', value_name = "CIDR[:PORT]")]
    allow_networks: Vec<String>,
}

/// Runs the system until it is told to stop.
pub(crate) async fn run(flags: &Flags, format: Format) -> anyhow::Result<()> {
    let stop = ursa_telemetry::stop_on_signal()?;
    let data = DataFolder::open(flags.data_dir.as_deref())?;
    let programs = Programs::find(flags.workers > 0)?;
    leftover::end(&data.record()).await?;
    let coordinator_port = ports::choose(flags.port, COORDINATOR_PORT, "--port")?;
    let plan = Plan {
        programs,
        object_store: data.object_store(flags.object_store.as_deref())?,
        database_url: flags.database_url.clone(),
        coordinator_port,
        dashboard_port: ports::choose(flags.dashboard_port, DASHBOARD_PORT, "--dashboard-port")?,
        nodes: flags.nodes,
        workers: flags.workers,
        cache: data.cache(),
        allow_networks: flags.allow_networks.clone(),
    };
    let mut system = System::new(&data, &plan);
    let outcome = tokio::select! {
        outcome = live(&mut system, &data, plan, format) => outcome,
        () = stop.cancelled() => Ok(()),
    };
    system.stop().await;
    outcome
}

/// Starts everything and stays; only an error ends it.
async fn live(system: &mut System, data: &DataFolder, plan: Plan, format: Format) -> anyhow::Result<()> {
    system.start(data, plan).await?;
    summary::print(&system.record(), format)?;
    std::future::pending().await
}
