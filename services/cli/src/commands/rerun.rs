//! `ursa rerun`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ursa_client::{Client, pipeline_file};
use ursa_proto::{ApiError, v1};

use super::pipeline;
use crate::output::Output;

/// What to run again, and what of it to change.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Id of the pipeline.
    pipeline: String,
    /// Run this pipeline file instead.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Change a key of a job, in the words of pipeline files; may be repeated.
    #[arg(long = "set", value_name = "JOB.KEY=VALUE")]
    changes: Vec<String>,
    /// Do all the work again, even where nothing has changed.
    #[arg(long)]
    fresh: bool,
    /// Print what happens until the pipeline has ended; fail if it did not succeed.
    #[arg(long)]
    watch: bool,
    /// Submitting again under the same key finds the first pipeline instead of making another.
    #[arg(long, default_value = "", hide_default_value = true)]
    idempotency_key: String,
}

pub(crate) async fn run(flags: &Flags, client: &Client, output: &Output) -> anyhow::Result<()> {
    let request = v1::RerunPipelineRequest {
        id: flags.pipeline.clone(),
        pipeline: changed(flags, client).await?,
        fresh: flags.fresh,
        idempotency_key: flags.idempotency_key.clone(),
    };
    let answer = client.jobs().rerun_pipeline(request).await.map_err(ApiError::from)?.into_inner();
    let pipeline = answer.pipeline.context("the coordinator answered without a pipeline")?;
    pipeline::print_one(output, &pipeline)?;
    if flags.watch { pipeline::follow(client, output, pipeline.id).await } else { Ok(()) }
}

/// What is run instead; `None` for the same.
async fn changed(flags: &Flags, client: &Client) -> anyhow::Result<Option<v1::PipelineSpec>> {
    let mut spec = match &flags.file {
        Some(file) => pipeline_file::load(file)?,
        None if flags.changes.is_empty() => return Ok(None),
        None => submitted(client, &flags.pipeline).await?,
    };
    pipeline_file::change(&mut spec, &flags.changes)?;
    Ok(Some(spec))
}

async fn submitted(client: &Client, id: &str) -> anyhow::Result<v1::PipelineSpec> {
    let pipeline = pipeline::get(client, id).await?;
    let mut details = Vec::with_capacity(pipeline.jobs.len());
    for job in &pipeline.jobs {
        let detail = client.jobs().get_job(v1::GetJobRequest { id: job.id.clone() }).await.map_err(ApiError::from)?;
        details.push(detail.into_inner());
    }
    Ok(pipeline_file::submitted(&pipeline, &details)?)
}
