//! `ursa`: the command line. Results go to standard output, everything else to standard error.
//!
//! Exit codes: 0 done, 1 it failed (or a watched pipeline did), 2 the command was not understood.

mod commands;
mod output;
mod plot;
mod progress;
mod text;
mod web;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use ursa_client::{COORDINATOR_VARIABLE, Client, DEFAULT_COORDINATOR};
use ursa_proto::{ApiError, ErrorCode};

use commands::{
    Misuse, datasets, endpoints, jobs, models, nodes, pipeline, predict, project, queue, rerun, schedule, tasks, up,
    webhook, worker,
};
use output::{Format, Output};

const GLOBAL: &str = "Options of every command";

/// From URLs to a served image classifier, on machines you own.
#[derive(Debug, Parser)]
#[command(
    name = "ursa",
    version,
    after_help = "Examples:
  ursa up
  ursa pipeline run bears.yaml --watch
  ursa predict bears photo.jpg
  ursa jobs list --state failed --output json
  ursa rerun PIPELINE --set train.epochs=12
  ursa datasets sources bears --outcome failed"
)]
struct Arguments {
    /// Where the coordinator is.
    #[arg(long, global = true, env = COORDINATOR_VARIABLE, default_value = DEFAULT_COORDINATOR, help_heading = GLOBAL)]
    coordinator: String,
    /// How to print results: tables for people, JSON for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, help_heading = GLOBAL)]
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
    #[command(subcommand, alias = "pipelines")]
    Pipeline(pipeline::Command),
    /// Run a pipeline again, changed or not; what has not changed is taken over instead of done again.
    #[command(after_help = "Examples:
  ursa rerun 0193a1b2-c3d4-7e5f-8a6b-123456789abc
  ursa rerun 0193a1b2-c3d4-7e5f-8a6b-123456789abc --set train.epochs=12 --set train.resources.gpus=2 --watch
  ursa rerun 0193a1b2-c3d4-7e5f-8a6b-123456789abc --file bears.yaml --fresh")]
    Rerun(rerun::Flags),
    /// Look at jobs, stop them, give them another round, one or many at a time.
    #[command(subcommand, alias = "job")]
    Jobs(jobs::Command),
    /// Look at tasks and give those that ended badly another round.
    #[command(
        alias = "task",
        after_help = "Examples:
  ursa tasks --job 0193a1b2-c3d4-7e5f-8a6b-123456789abc
  ursa tasks --state dead --project zoo
  ursa tasks replay --all-dead --job 0193a1b2-c3d4-7e5f-8a6b-123456789abc"
    )]
    Tasks(tasks::Arguments),
    /// Share what there is between projects.
    #[command(subcommand, alias = "projects")]
    Project(project::Command),
    /// Look at queues, pause and resume them.
    #[command(subcommand, alias = "queues")]
    Queue(queue::Command),
    /// Submit pipelines by the clock.
    #[command(subcommand, alias = "schedules")]
    Schedule(schedule::Command),
    /// Send events to other programs.
    #[command(subcommand, alias = "webhooks")]
    Webhook(webhook::Command),
    /// Look at datasets, their images and what became of every URL.
    #[command(subcommand, alias = "dataset")]
    Datasets(datasets::Command),
    /// Look at trained models.
    #[command(subcommand, alias = "model")]
    Models(models::Command),
    /// Look at endpoints and point them at models.
    #[command(subcommand, alias = "endpoint")]
    Endpoints(endpoints::Command),
    /// Look at workers, drain and resume them.
    #[command(subcommand, alias = "workers")]
    Worker(worker::Command),
    /// Look at inference nodes.
    #[command(subcommand, alias = "node")]
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
            if error.is::<Misuse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
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
        Command::Rerun(flags) => rerun::run(flags, &client, &output).await,
        Command::Jobs(command) => jobs::run(command, &client, &output).await,
        Command::Tasks(arguments) => tasks::run(arguments, &client, &output).await,
        Command::Project(command) => project::run(command, &client, &output).await,
        Command::Queue(command) => queue::run(command, &client, &output).await,
        Command::Schedule(command) => schedule::run(command, &client, &output).await,
        Command::Webhook(command) => webhook::run(command, &client, &output).await,
        Command::Datasets(command) => datasets::run(command, &client, &output).await,
        Command::Models(command) => models::run(command, &client, &output).await,
        Command::Endpoints(command) => endpoints::run(command, &client, &output).await,
        Command::Worker(command) => worker::run(command, &client, &output).await,
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
