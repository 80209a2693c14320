//! `ursa`: the command line. Results go to standard output, everything else to standard error.
//!
//! Exit codes: 0 done, 1 it failed (or a watched pipeline did), 2 the command was not understood.

mod commands;
mod output;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use ursa_client::{COORDINATOR_VARIABLE, Client, DEFAULT_COORDINATOR};
use ursa_proto::{ApiError, ErrorCode};

use commands::{datasets, endpoints, jobs, models, nodes, pipeline, workers};
use output::{Format, Output};

/// From URLs to a served image classifier, on machines you own.
#[derive(Debug, Parser)]
#[command(
    name = "ursa",
    version,
    after_help = "Examples:
  ursa pipeline run bears.yaml --watch
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

/// Says what went wrong and, where we know it, what to do.
#[expect(clippy::print_stderr, reason = "errors are for whoever typed the command")]
fn complain(error: &anyhow::Error, coordinator: &str) {
    eprintln!("error: {error:#}");
    let api = error.downcast_ref::<ApiError>();
    if api.is_some_and(|error| error.code == ErrorCode::Unavailable) {
        eprintln!(
            "hint: is a coordinator running at {coordinator}? Another one is named by --coordinator or {COORDINATOR_VARIABLE}"
        );
    }
}
