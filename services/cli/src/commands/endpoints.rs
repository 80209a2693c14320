//! `ursa endpoints`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use crate::output::{Column, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List endpoints.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Point an endpoint at a model; nodes follow.
    Deploy {
        /// The endpoint; made if it does not exist.
        endpoint: String,
        /// Digest of the model, or its first eight digits or more.
        digest: String,
    },
}

const ENDPOINTS: &[Column] =
    &[("NAME", "name"), ("MODEL", "model_digest"), ("GENERATION", "generation"), ("UPDATED", "updated_at")];
const ASSIGNMENTS: &[Column] = &[
    ("NODE", "node_name"),
    ("STATE", "state"),
    ("SERVING", "serving_digest"),
    ("HTTP", "http_address"),
    ("ERROR", "error"),
];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List { limit } => {
            let ask = async |page| client.endpoints().list_endpoints(v1::ListEndpointsRequest { page }).await;
            output.print(&limit.walk(ask).await?, "ListEndpointsResponse", "endpoints", ENDPOINTS)
        }
        Command::Deploy { endpoint, digest } => {
            let request = v1::DeployRequest { endpoint: endpoint.clone(), model_digest: digest.clone() };
            let endpoint = client.endpoints().deploy(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&endpoint, "Endpoint", "assignments", ASSIGNMENTS)
        }
    }
}
