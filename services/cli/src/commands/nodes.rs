//! `ursa nodes`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use crate::output::{Column, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List nodes.
    List,
}

const COLUMNS: &[Column] =
    &[("ID", "id"), ("NAME", "name"), ("STATE", "state"), ("HTTP", "http_address"), ("GRPC", "grpc_address")];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    let Command::List = command;
    let list = client.nodes().list_nodes(v1::ListNodesRequest {}).await.map_err(ApiError::from)?.into_inner();
    output.print(&list, "ListNodesResponse", "nodes", COLUMNS)
}
