//! `ursa pipeline`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use ursa_client::{Client, pipeline_file};
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};

use super::jobs::{self, JOBS};
use super::pages::Limit;
use super::watch;
use crate::output::{Column, Format, Output, facts, line, table};
use crate::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Submit a pipeline file.
    #[command(after_help = "Example:\n  ursa pipeline run bears.yaml --watch")]
    Run {
        /// The file.
        file: PathBuf,
        /// Print what happens until the pipeline has ended; fail if it did not succeed.
        #[arg(long)]
        watch: bool,
        /// Submitting again under the same key finds the first pipeline instead of making another.
        #[arg(long)]
        idempotency_key: Option<String>,
    },
    /// List pipelines, newest first.
    List {
        /// Only pipelines of this project.
        #[arg(long, default_value = "", hide_default_value = true)]
        project: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one pipeline.
    Get {
        /// Its id.
        id: String,
    },
}

const PIPELINES: &[Column] = &[
    ("ID", "id"),
    ("NAME", "name"),
    ("STATE", "state"),
    ("PROJECT", "project"),
    ("CREATED", "created_at"),
    ("JOBS", "jobs"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::Run { file, watch, idempotency_key } => {
            let request = v1::SubmitPipelineRequest {
                pipeline: Some(pipeline_file::load(file)?),
                idempotency_key: idempotency_key.clone().unwrap_or_default(),
            };
            let answer = client.jobs().submit_pipeline(request).await.map_err(ApiError::from)?.into_inner();
            let pipeline = answer.pipeline.context("the coordinator answered without a pipeline")?;
            print_one(output, &pipeline)?;
            if *watch { follow(client, output, pipeline.id).await } else { Ok(()) }
        }
        Command::List { project, limit } => {
            let request = |page| v1::ListPipelinesRequest { page, project: project.clone() };
            let ask = async |page| client.jobs().list_pipelines(request(page)).await;
            output.print(&limit.walk(ask).await?, "ListPipelinesResponse", "pipelines", PIPELINES)
        }
        Command::Get { id } => {
            let pipeline = get(client, id).await?;
            match output.format() {
                Format::Json => print_one(output, &pipeline),
                Format::Table => line(&format!("{}\n\n{}", facts(&all_of(&pipeline)), table(&rows(&pipeline), JOBS))),
            }
        }
    }
}

/// A pipeline that was just made, by its jobs.
pub(super) fn print_one(output: &Output, pipeline: &v1::Pipeline) -> anyhow::Result<()> {
    output.print_shown(pipeline, "Pipeline", || rows(pipeline), JOBS)
}

fn rows(pipeline: &v1::Pipeline) -> Vec<serde_json::Value> {
    pipeline.jobs.iter().map(jobs::row).collect()
}

fn all_of(pipeline: &v1::Pipeline) -> Vec<(&'static str, String)> {
    vec![
        ("Pipeline", pipeline.id.clone()),
        ("Name", pipeline.name.clone()),
        ("Project", pipeline.project.clone()),
        ("State", pipeline.state.clone()),
        ("Runs again", pipeline.rerun_of.clone()),
        ("Submitted", text::time(pipeline.created_at.as_ref())),
    ]
}

/// One pipeline.
pub(super) async fn get(client: &Client, id: &str) -> Result<v1::Pipeline, ApiError> {
    Ok(client.jobs().get_pipeline(v1::GetPipelineRequest { id: id.to_owned() }).await?.into_inner())
}

/// Shows what happens until the pipeline has ended, and what its jobs found; an error when it did not succeed.
pub(super) async fn follow(client: &Client, output: &Output, id: String) -> anyhow::Result<()> {
    watch::until_ended(client, Subject::PipelineId(id.clone())).await?;
    let pipeline = get(client, &id).await?;
    if output.format() == Format::Table {
        for job in pipeline.jobs.iter().filter(|job| jobs::found::is_told(&job.kind)) {
            if let Err(error) = jobs::print_found(client, &job.id, &format!("{}\n\n", job.name)).await {
                tracing::warn!(%error, job = job.name, "cannot tell what a job found");
            }
        }
    }
    if pipeline.state == "succeeded" {
        return Ok(());
    }
    let failed = pipeline.jobs.iter().find(|job| !job.error.is_empty());
    match failed {
        Some(job) => {
            bail!("job {} failed: {}; give it another round with `ursa jobs retry {}`", job.name, job.error, job.id)
        }
        None => bail!("the pipeline was {}", pipeline.state),
    }
}
