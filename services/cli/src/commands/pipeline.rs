//! `ursa pipeline`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use ursa_client::{Client, pipeline_file};
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};

use super::{first_page, watch};
use crate::output::{Column, Output};

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
    List,
    /// Show one pipeline.
    Get {
        /// Its id.
        id: String,
    },
}

const PIPELINES: &[Column] =
    &[("ID", "id"), ("NAME", "name"), ("STATE", "state"), ("CREATED", "created_at"), ("JOBS", "jobs")];
const JOBS: &[Column] = &[("ID", "id"), ("NAME", "name"), ("KIND", "kind"), ("STATE", "state"), ("ERROR", "error")];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::Run { file, watch, idempotency_key } => {
            let request = v1::SubmitPipelineRequest {
                pipeline: Some(pipeline_file::load(file)?),
                idempotency_key: idempotency_key.clone().unwrap_or_default(),
            };
            let answer = client.jobs().submit_pipeline(request).await.map_err(ApiError::from)?.into_inner();
            let pipeline = answer.pipeline.context("the coordinator answered without a pipeline")?;
            output.print(&pipeline, "Pipeline", "jobs", JOBS)?;
            if *watch { follow(client, pipeline.id).await } else { Ok(()) }
        }
        Command::List => {
            let request = v1::ListPipelinesRequest { page: first_page() };
            let list = client.jobs().list_pipelines(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&list, "ListPipelinesResponse", "pipelines", PIPELINES)
        }
        Command::Get { id } => output.print(&get(client, id).await?, "Pipeline", "jobs", JOBS),
    }
}

async fn get(client: &Client, id: &str) -> Result<v1::Pipeline, ApiError> {
    Ok(client.jobs().get_pipeline(v1::GetPipelineRequest { id: id.to_owned() }).await?.into_inner())
}

async fn follow(client: &Client, id: String) -> anyhow::Result<()> {
    watch::until_ended(client, Subject::PipelineId(id.clone())).await?;
    let pipeline = get(client, &id).await?;
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
