//! `ursa jobs`.

pub(super) mod found;
mod logs;
mod show;
mod steer;

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use super::watch;
use crate::output::{Column, Format, Output, line};
pub(super) use show::row;
use steer::{Action, Bulk, Filter};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List jobs, newest first.
    #[command(after_help = "Examples:
  ursa jobs list --state running
  ursa jobs list --project zoo --kind train --output json")]
    List {
        /// Only jobs in this state.
        #[arg(long, default_value = "", hide_default_value = true)]
        state: String,
        /// Only jobs of this pipeline.
        #[arg(long, default_value = "", hide_default_value = true)]
        pipeline: String,
        /// Only jobs of this project.
        #[arg(long, default_value = "", hide_default_value = true)]
        project: String,
        /// Only jobs of this kind.
        #[arg(long, default_value = "", hide_default_value = true)]
        kind: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one job: where it stands, why it waits, its tasks and attempts, and what it found.
    #[command(visible_alias = "show")]
    Get {
        /// Its id.
        id: String,
    },
    /// Print what happens to a job until it has ended, and what it found.
    Watch {
        /// Its id.
        id: String,
    },
    /// Print what a job logged.
    #[command(after_help = "Examples:
  ursa jobs logs 0193a1b2-c3d4-7e5f-8a6b-123456789abc
  ursa jobs logs -f 0193a1b2-c3d4-7e5f-8a6b-123456789abc | grep error")]
    Logs {
        /// Its id.
        id: String,
        /// Go on with what it logs until it has ended.
        #[arg(long, short)]
        follow: bool,
    },
    /// Ask a job to stop, or every job that a filter finds.
    #[command(after_help = "Examples:
  ursa jobs cancel 0193a1b2-c3d4-7e5f-8a6b-123456789abc
  ursa jobs cancel --project zoo --state waiting --older-than 2days --dry-run
  ursa jobs cancel --project zoo --state waiting --older-than 2days")]
    Cancel(Bulk),
    /// Give a job that failed, was cancelled or was skipped another round, or every such job that a filter finds.
    #[command(after_help = "Examples:
  ursa jobs retry 0193a1b2-c3d4-7e5f-8a6b-123456789abc
  ursa jobs retry --state failed --kind scrape --newer-than 12h")]
    Retry(Bulk),
    /// Give what is not at work yet of every job that a filter finds another priority; what they wait for becomes as urgent.
    #[command(
        alias = "prioritize",
        after_help = "Examples:
  ursa jobs prioritise 9 --pipeline 0193a1b2-c3d4-7e5f-8a6b-123456789abc
  ursa jobs prioritise 1 --project zoo --name-prefix nightly- --dry-run"
    )]
    Prioritise {
        /// 0 to 9, higher goes first.
        #[arg(value_parser = clap::value_parser!(u32).range(0..=9))]
        priority: u32,
        #[command(flatten)]
        filter: Filter,
        /// Only list the jobs that the filter finds.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Of jobs in lists.
pub(super) const JOBS: &[Column] = &[
    ("ID", "id"),
    ("NAME", "name"),
    ("KIND", "kind"),
    ("STATE", "state"),
    ("PROJECT", "project"),
    ("PRIORITY", "priority"),
    ("DONE", "done"),
    ("RATE", "rate"),
    ("LEFT", "left"),
    ("TASKS", "tasks"),
    ("NOTE", "note"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List { state, pipeline, project, kind, limit } => {
            let request = |page| v1::ListJobsRequest {
                page,
                pipeline_id: pipeline.clone(),
                state: state.clone(),
                project: project.clone(),
                kind: kind.clone(),
            };
            let list = limit.walk(async |page| client.jobs().list_jobs(request(page)).await).await?;
            print_list(output, &list)
        }
        Command::Get { id } => {
            let detail = get(client, id).await?;
            match output.format() {
                Format::Json => output.print(&detail, "JobDetail", "", &[]),
                Format::Table => line(&show::detail(&detail, &found::text(client, &detail).await?)),
            }
        }
        Command::Watch { id } => {
            watch::until_ended(client, Subject::JobId(id.clone())).await?;
            match output.format() {
                Format::Json => Ok(()),
                Format::Table => print_found(client, id, "").await,
            }
        }
        Command::Logs { id, follow: false } => logs::print(client, id).await,
        Command::Logs { id, follow: true } => logs::follow(client, id).await,
        Command::Cancel(bulk) => match bulk.subject()? {
            Some(id) => {
                let request = v1::CancelJobRequest { id: id.to_owned() };
                print_one(output, &client.jobs().cancel_job(request).await.map_err(ApiError::from)?.into_inner())
            }
            None => steer::run(client, output, &bulk.filter, Action::Cancel(true), bulk.dry_run).await,
        },
        Command::Retry(bulk) => match bulk.subject()? {
            Some(id) => {
                let request = v1::RetryJobRequest { id: id.to_owned() };
                print_one(output, &client.jobs().retry_job(request).await.map_err(ApiError::from)?.into_inner())
            }
            None => steer::run(client, output, &bulk.filter, Action::Retry(true), bulk.dry_run).await,
        },
        Command::Prioritise { priority, filter, dry_run } => {
            steer::run(client, output, filter, Action::Priority(*priority), *dry_run).await
        }
    }
}

/// One job with everything under it.
async fn get(client: &Client, id: &str) -> Result<v1::JobDetail, ApiError> {
    Ok(client.jobs().get_job(v1::GetJobRequest { id: id.to_owned() }).await?.into_inner())
}

/// Prints what a job found, where it found anything, below a line of its own and `title`.
pub(super) async fn print_found(client: &Client, id: &str, title: &str) -> anyhow::Result<()> {
    let text = found::text(client, &get(client, id).await?).await?;
    if text.is_empty() { Ok(()) } else { line(&format!("\n{title}{text}")) }
}

fn print_list(output: &Output, list: &v1::ListJobsResponse) -> anyhow::Result<()> {
    output.print_shown(list, "ListJobsResponse", || list.jobs.iter().map(row).collect(), JOBS)
}

fn print_one(output: &Output, job: &v1::Job) -> anyhow::Result<()> {
    output.print_shown(job, "Job", || vec![row(job)], JOBS)
}
