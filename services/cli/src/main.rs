//! `ursa`: the command line. Results go to standard output, everything else to standard error.
//!
//! Exit codes: 0 done, 1 it failed (or a watched pipeline did), 2 the command was not understood.

mod commands;
mod output;
mod progress;
mod web;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use ursa_client::{COORDINATOR_VARIABLE, Client, DEFAULT_COORDINATOR};
use ursa_proto::{ApiError, ErrorCode};

use commands::{datasets, endpoints, jobs, models, nodes, pipeline, predict, up, workers};
use output::{Format, Output};

/// From URLs to a served image classifier, on machines you own.
#[derive(Debug, Parser)]
#[command(
    name = "ursa",
    version,
    after_help = "Examples:
  ursa up
  ursa pipeline run bears.yaml --watch
  ursa predict bears photo.jpg
  ursa jobs list --output json
  ursa datasets sources bears --outcome failed"
)]
struct Arguments {
    /// Where the coordinator is.
    #[arg(long, global = true, env = COORDINATOR_VARIABLE, default_value = DEFAULT_COORDINATOR)]
    coordinator: String,
    /// How to print results: tables for people, JSON for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system on this machine until Ctrl-C.
    #[command(after_help = "Examples:
  ursa up
  ursa up --data-dir /srv/ursa --workers 0
  ursa up --port 0 --dashboard-port 0 --output json")]
    Up(up::Flags),
    /// Ask an endpoint what is in pictures.
    #[command(after_help = "Examples:
  ursa predict bears photo.jpg
  ursa predict bears *.jpg https://example.org/bear.jpg --output json")]
    Predict(predict::Flags),
    /// Submit pipelines and look at them.
    #[command(subcommand)]
    Pipeline(pipeline::Command),
    /// Look at jobs, stop them, give them another round.
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Look at datasets, their images and what became of every URL.
    #[command(subcommand)]
    Datasets(datasets::Command),
    /// Look at trained models.
    #[command(subcommand)]
    Models(models::Command),
    /// Look at endpoints and point them at models.
    #[command(subcommand)]
    Endpoints(endpoints::Command),
    /// Look at workers.
    #[command(subcommand)]
    Workers(workers::Command),
    /// Look at inference nodes.
    #[command(subcommand)]
    Nodes(nodes::Command),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    ursa_telemetry::init_logging_at("warn");
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error, &arguments.coordinator);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let client = Client::new(&arguments.coordinator)?;
    let output = Output::new(arguments.output)?;
    match &arguments.command {
        Command::Up(flags) => up::run(flags, output.format()).await,
        Command::Predict(flags) => predict::run(flags, &client, &output).await,
        Command::Pipeline(command) => pipeline::run(command, &client, &output).await,
        Command::Jobs(command) => jobs::run(command, &client, &output).await,
        Command::Datasets(command) => datasets::run(command, &client, &output).await,
        Command::Models(command) => models::run(command, &client, &output).await,
        Command::Endpoints(command) => endpoints::run(command, &client, &output).await,
        Command::Workers(command) => workers::run(command, &client, &output).await,
        Command::Nodes(command) => nodes::run(command, &client, &output).await,
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Arguments::command(), "ursa", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Tells whoever typed the command; results go to standard output. Nobody there is no harm.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says what went wrong and, where we know it, what to do.
fn complain(error: &anyhow::Error, coordinator: &str) {
    say(&format!("error: {error:#}"));
    let api = error.downcast_ref::<ApiError>();
    if api.is_some_and(|error| error.code == ErrorCode::Unavailable) {
        say(&format!(
            "hint: is a coordinator running at {coordinator}? `ursa up` starts one; another one is named by \
             --coordinator or {COORDINATOR_VARIABLE}"
        ));
    }
}
