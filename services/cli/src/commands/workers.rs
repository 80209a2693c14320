//! `ursa workers`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use crate::output::{Column, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List workers.
    List,
}

const COLUMNS: &[Column] = &[
    ("ID", "id"),
    ("NAME", "name"),
    ("STATE", "state"),
    ("SLOTS", "slots"),
    ("RUNNING", "running"),
    ("VERSION", "version"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    let Command::List = command;
    let list = client.workers().list_workers(v1::ListWorkersRequest {}).await.map_err(ApiError::from)?.into_inner();
    output.print(&list, "ListWorkersResponse", "workers", COLUMNS)
}
