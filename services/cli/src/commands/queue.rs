//! `ursa queue`.

use clap::Subcommand;
use serde_json::{Value, json};
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use crate::output::{Column, Output};
use crate::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List queues: the tasks of one kind each.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Let no more tasks of a kind begin; what runs goes on.
    #[command(after_help = "Example:\n  ursa queue pause train")]
    Pause {
        /// The kind.
        kind: String,
    },
    /// Let the tasks of a kind begin again.
    Resume {
        /// The kind.
        kind: String,
    },
}

const QUEUES: &[Column] =
    &[("KIND", "kind"), ("READY", "ready"), ("RUNNING", "running"), ("OLDEST", "oldest"), ("PAUSED", "paused")];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List { limit } => {
            let list =
                limit.walk(async |page| client.queues().list_queues(v1::ListQueuesRequest { page }).await).await?;
            output.print_shown(&list, "ListQueuesResponse", || list.queues.iter().map(row).collect(), QUEUES)
        }
        Command::Pause { kind } => pause(kind, true, client, output).await,
        Command::Resume { kind } => pause(kind, false, client, output).await,
    }
}

async fn pause(kind: &str, paused: bool, client: &Client, output: &Output) -> anyhow::Result<()> {
    let request = v1::PauseQueueRequest { kind: kind.to_owned(), paused };
    let queue = client.queues().pause_queue(request).await.map_err(ApiError::from)?.into_inner();
    output.print_shown(&queue, "Queue", || vec![row(&queue)], QUEUES)
}

fn row(queue: &v1::Queue) -> Value {
    let oldest = if queue.ready > 0 { text::duration(queue.oldest_seconds) } else { String::new() };
    json!({
        "kind": queue.kind,
        "ready": queue.ready,
        "running": queue.running,
        "oldest": oldest,
        "paused": queue.paused,
    })
}
