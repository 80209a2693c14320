//! `ursa nodes`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::v1;

use super::pages::Limit;
use crate::output::{Column, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List nodes.
    List {
        #[command(flatten)]
        limit: Limit,
    },
}

const COLUMNS: &[Column] =
    &[("ID", "id"), ("NAME", "name"), ("STATE", "state"), ("HTTP", "http_address"), ("GRPC", "grpc_address")];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    let Command::List { limit } = command;
    let list = limit.walk(async |page| client.nodes().list_nodes(v1::ListNodesRequest { page }).await).await?;
    output.print(&list, "ListNodesResponse", "nodes", COLUMNS)
}
