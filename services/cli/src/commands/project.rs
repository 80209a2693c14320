//! `ursa project`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use crate::output::{Column, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List projects with their shares, quotas and what they use.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Make a project, or change its share and quotas; what is not given goes back to its default.
    #[command(after_help = "Examples:
  ursa project put zoo --weight 2
  ursa project put zoo --max-gpus 4 --max-running 100")]
    Put {
        /// Its name.
        name: String,
        /// Its share of what there is, beside the others that want some.
        #[arg(long, default_value_t = 1.0)]
        weight: f64,
        /// Tasks at a time; as many as there is room for when it is not given.
        #[arg(long)]
        max_running: Option<u32>,
        /// GPUs at a time; as many as there are when it is not given.
        #[arg(long)]
        max_gpus: Option<u32>,
    },
    /// Let nothing more of a project begin; what runs goes on.
    Pause {
        /// Its name.
        name: String,
    },
    /// Let a paused project begin again.
    Resume {
        /// Its name.
        name: String,
    },
}

const PROJECTS: &[Column] = &[
    ("NAME", "name"),
    ("WEIGHT", "weight"),
    ("RUNNING", "running"),
    ("MAX RUNNING", "max_running"),
    ("GPUS", "gpus"),
    ("MAX GPUS", "max_gpus"),
    ("PAUSED", "paused"),
    ("CREATED", "created_at"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List { limit } => {
            let ask = async |page| client.queues().list_projects(v1::ListProjectsRequest { page }).await;
            output.print(&limit.walk(ask).await?, "ListProjectsResponse", "projects", PROJECTS)
        }
        Command::Put { name, weight, max_running, max_gpus } => {
            let request = v1::PutProjectRequest {
                name: name.clone(),
                weight: *weight,
                max_running: *max_running,
                max_gpus: *max_gpus,
            };
            let project = client.queues().put_project(request).await.map_err(ApiError::from)?;
            output.print(project.get_ref(), "Project", "", PROJECTS)
        }
        Command::Pause { name } => pause(name, true, client, output).await,
        Command::Resume { name } => pause(name, false, client, output).await,
    }
}

async fn pause(name: &str, paused: bool, client: &Client, output: &Output) -> anyhow::Result<()> {
    let request = v1::PauseProjectRequest { name: name.to_owned(), paused };
    let project = client.queues().pause_project(request).await.map_err(ApiError::from)?;
    output.print(project.get_ref(), "Project", "", PROJECTS)
}
