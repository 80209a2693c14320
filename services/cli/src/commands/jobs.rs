//! `ursa jobs`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};

use super::{first_page, watch};
use crate::output::{Column, Output, line};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List jobs, newest first.
    List {
        /// Only jobs in this state.
        #[arg(long, default_value = "")]
        state: String,
        /// Only jobs of this pipeline.
        #[arg(long, default_value = "")]
        pipeline: String,
    },
    /// Show one job with its tasks.
    Get {
        /// Its id.
        id: String,
    },
    /// Print what happens to a job until it has ended.
    Watch {
        /// Its id.
        id: String,
    },
    /// Print what a job logged.
    Logs {
        /// Its id.
        id: String,
    },
    /// Ask a job to stop.
    Cancel {
        /// Its id.
        id: String,
    },
    /// Give a job that failed, was cancelled or was skipped another round.
    Retry {
        /// Its id.
        id: String,
    },
}

const JOBS: &[Column] = &[
    ("ID", "id"),
    ("NAME", "name"),
    ("KIND", "kind"),
    ("STATE", "state"),
    ("DONE", "progress/done"),
    ("OF", "progress/total"),
    ("UNIT", "progress/unit"),
    ("ERROR", "error"),
];
const TASKS: &[Column] =
    &[("TASK", "ordinal"), ("STATE", "state"), ("DONE", "progress/done"), ("OF", "progress/total"), ("ID", "id")];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    let mut jobs = client.jobs();
    match command {
        Command::List { state, pipeline } => {
            let request =
                v1::ListJobsRequest { page: first_page(), pipeline_id: pipeline.clone(), state: state.clone() };
            let list = jobs.list_jobs(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&list, "ListJobsResponse", "jobs", JOBS)
        }
        Command::Get { id } => {
            let detail = jobs.get_job(v1::GetJobRequest { id: id.clone() }).await.map_err(ApiError::from)?.into_inner();
            output.print(&detail, "JobDetail", "tasks", TASKS)
        }
        Command::Watch { id } => watch::until_ended(client, Subject::JobId(id.clone())).await,
        Command::Logs { id } => print_logs(client, id).await,
        Command::Cancel { id } => {
            let job =
                jobs.cancel_job(v1::CancelJobRequest { id: id.clone() }).await.map_err(ApiError::from)?.into_inner();
            output.print(&job, "Job", "", JOBS)
        }
        Command::Retry { id } => {
            let job =
                jobs.retry_job(v1::RetryJobRequest { id: id.clone() }).await.map_err(ApiError::from)?.into_inner();
            output.print(&job, "Job", "", JOBS)
        }
    }
}

async fn print_logs(client: &Client, id: &str) -> anyhow::Result<()> {
    let mut after_id = 0;
    loop {
        let request = v1::ListLogsRequest { job_id: id.to_owned(), after_id, limit: 0 };
        let lines = client.jobs().list_logs(request).await.map_err(ApiError::from)?.into_inner().lines;
        let Some(last) = lines.last() else { return Ok(()) };
        after_id = last.id;
        for entry in &lines {
            line(&format!("{:<5} {}", entry.level, entry.message))?;
        }
    }
}
