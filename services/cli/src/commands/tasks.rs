//! `ursa tasks`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ursa_client::{Client, pages};
use ursa_proto::{ApiError, v1};

use super::Misuse;
use super::pages::Limit;
use crate::output::{Column, Output};
use crate::text;

/// The most ids that one request takes.
const REPLAYED_AT_ONCE: usize = 1000;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    wanted: Wanted,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which tasks.
#[derive(Debug, Args)]
struct Wanted {
    /// Only tasks of this job.
    #[arg(long, default_value = "", hide_default_value = true)]
    job: String,
    /// Only tasks in this state, for instance dead.
    #[arg(long, default_value = "", hide_default_value = true)]
    state: String,
    /// Only tasks of this project.
    #[arg(long, default_value = "", hide_default_value = true)]
    project: String,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List tasks, by job and place.
    List(Wanted),
    /// Give tasks that have ended another round; their job runs again.
    #[command(after_help = "Examples:
  ursa tasks replay 0193a1b2-c3d4-7e5f-8a6b-123456789abc
  ursa tasks replay --all-dead --job 0193a1b2-c3d4-7e5f-8a6b-123456789abc")]
    Replay {
        /// Their ids.
        ids: Vec<String>,
        /// Every dead task of the job.
        #[arg(long, requires = "job", conflicts_with = "ids")]
        all_dead: bool,
        /// The job whose dead tasks are meant.
        #[arg(long, requires = "all_dead")]
        job: Option<String>,
    },
}

const TASKS: &[Column] = &[
    ("ID", "id"),
    ("JOB", "job"),
    ("TASK", "ordinal"),
    ("STATE", "state"),
    ("DONE", "done"),
    ("ATTEMPTS", "attempts"),
    ("WORKER", "worker"),
    ("ERROR", "error"),
];
/// Under their job, which need not be named again.
pub(super) const OF_A_JOB: &[Column] = &[
    ("TASK", "ordinal"),
    ("STATE", "state"),
    ("DONE", "done"),
    ("ATTEMPTS", "attempts"),
    ("WORKER", "worker"),
    ("ID", "id"),
];
pub(super) const ATTEMPTS: &[Column] = &[
    ("TASK", "ordinal"),
    ("ATTEMPT", "number"),
    ("STATE", "state"),
    ("WORKER", "worker"),
    ("GPUS", "gpus"),
    ("TOOK", "took"),
    ("STOP", "stop"),
    ("ERROR", "error"),
];

pub(crate) async fn run(arguments: &Arguments, client: &Client, output: &Output) -> anyhow::Result<()> {
    match &arguments.command {
        None => list(&arguments.wanted, client, output).await,
        Some(Command::List(wanted)) => list(wanted, client, output).await,
        Some(Command::Replay { ids, job, .. }) => replay(ids, job.as_deref(), client, output).await,
    }
}

async fn list(wanted: &Wanted, client: &Client, output: &Output) -> anyhow::Result<()> {
    let request = |page| v1::ListTasksRequest {
        page,
        job_id: wanted.job.clone(),
        state: wanted.state.clone(),
        project: wanted.project.clone(),
    };
    let list = wanted.limit.walk(async |page| client.jobs().list_tasks(request(page)).await).await?;
    output.print_shown(&list, "ListTasksResponse", || list.tasks.iter().map(row).collect(), TASKS)
}

async fn replay(ids: &[String], job: Option<&str>, client: &Client, output: &Output) -> anyhow::Result<()> {
    let ids = match job {
        Some(job) => dead_ones(client, job).await?,
        None if ids.is_empty() => {
            return Err(Misuse("say which tasks: give ids, or --all-dead with --job".into()).into());
        }
        None => ids.to_vec(),
    };
    let mut retried = 0;
    for ids in ids.chunks(REPLAYED_AT_ONCE) {
        let request = v1::RetryTasksRequest { ids: ids.to_vec() };
        retried += client.jobs().retry_tasks(request).await.map_err(ApiError::from)?.into_inner().retried;
    }
    output.print(&v1::RetryTasksResponse { retried }, "RetryTasksResponse", "", &[("RETRIED", "retried")])
}

/// Ids of the dead tasks of a job.
async fn dead_ones(client: &Client, job: &str) -> Result<Vec<String>, ApiError> {
    let request =
        |page| v1::ListTasksRequest { page, job_id: job.to_owned(), state: "dead".into(), ..Default::default() };
    let tasks = pages::all(async |page| client.jobs().list_tasks(request(page)).await).await?;
    Ok(tasks.into_iter().map(|task| task.id).collect())
}

/// A task in a list.
pub(super) fn row(task: &v1::Task) -> Value {
    let last = task.attempts.last();
    let progress = task.progress.clone().unwrap_or_default();
    let done = match (progress.done, progress.total) {
        (0, 0) => String::new(),
        (done, 0) => format!("{done} {}", progress.unit),
        (done, total) => format!("{done}/{total} {}", progress.unit),
    };
    json!({
        "id": task.id,
        "job": task.job_id,
        "ordinal": task.ordinal,
        "state": task.state,
        "done": done,
        "attempts": task.attempts.len(),
        "worker": last.map(|attempt| &attempt.worker_name),
        "error": last.map(|attempt| &attempt.error),
    })
}

/// The attempts that did not simply succeed.
pub(super) fn attempts_worth_a_look(task: &v1::Task) -> impl Iterator<Item = Value> {
    let ordinal = task.ordinal;
    task.attempts.iter().filter(|attempt| attempt.state != "succeeded").map(move |attempt| {
        json!({
            "ordinal": ordinal,
            "number": attempt.number,
            "state": attempt.state,
            "worker": attempt.worker_name,
            "gpus": attempt.gpus,
            "took": took(attempt),
            "stop": attempt.stop.as_ref().map(|stop| stages(stop, attempt.cleaned_at.as_ref())),
            "error": attempt.error,
        })
    })
}

fn took(attempt: &v1::Attempt) -> Option<String> {
    let (from, to) = attempt.started_at.as_ref().zip(attempt.ended_at.as_ref())?;
    Some(text::duration(text::seconds_between(from, to)))
}

/// How the order to stop an attempt went: `deadline: asked, acknowledged after 0.2 s, forced after 10 s, cleaned after 12 s`.
fn stages(stop: &v1::StopStages, cleaned_at: Option<&prost_types::Timestamp>) -> String {
    let stages =
        [("acknowledged", stop.acknowledged_at.as_ref()), ("forced", stop.forced_at.as_ref()), ("cleaned", cleaned_at)];
    let stages = stages.into_iter().filter_map(|(name, at)| {
        let (asked, at) = stop.asked_at.as_ref().zip(at)?;
        Some(format!(", {name} after {}", text::duration(text::seconds_between(asked, at))))
    });
    format!("{}: asked{}", stop.reason, stages.collect::<String>())
}
