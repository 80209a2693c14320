//! `ursa datasets`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use super::pages::Limit;
use crate::output::{Column, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List datasets.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one dataset with its counts.
    Get {
        /// Its name.
        name: String,
    },
    /// List images of a dataset.
    Images {
        /// The dataset.
        name: String,
        /// Only this verdict (unverified, kept, refused) or reason, for instance truncated.
        #[arg(long, default_value = "", hide_default_value = true)]
        verdict: String,
        /// Only this class.
        #[arg(long, default_value = "", hide_default_value = true)]
        class: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// List what became of every URL.
    Sources {
        /// The dataset.
        name: String,
        /// Only this outcome (pending, fetched, failed) or error class, for instance timeout.
        #[arg(long, default_value = "", hide_default_value = true)]
        outcome: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Fetch URLs that failed once more.
    RetrySources {
        /// The dataset.
        name: String,
        /// Ids of the sources; all that failed when none is given.
        ids: Vec<String>,
    },
    /// List snapshots of a dataset, newest first.
    Snapshots {
        /// The dataset.
        name: String,
        #[command(flatten)]
        limit: Limit,
    },
}

const DATASETS: &[Column] = &[
    ("NAME", "name"),
    ("CLASSES", "classes"),
    ("SOURCES", "sources"),
    ("IMAGES", "images"),
    ("SNAPSHOT", "latest_snapshot"),
];
const IMAGES: &[Column] = &[
    ("ID", "id"),
    ("CLASS", "class"),
    ("VERDICT", "verdict"),
    ("REASON", "reason"),
    ("WIDTH", "width"),
    ("HEIGHT", "height"),
    ("URL", "url"),
];
const SOURCES: &[Column] =
    &[("ID", "id"), ("CLASS", "class"), ("LINE", "line"), ("OUTCOME", "outcome"), ("ERROR", "error"), ("URL", "url")];
const SNAPSHOTS: &[Column] = &[
    ("NUMBER", "number"),
    ("SEED", "seed"),
    ("VALID %", "valid_percent"),
    ("CLASSES", "classes"),
    ("DIGEST", "digest"),
];
const JOBS: &[Column] = &[("ID", "id"), ("NAME", "name"), ("STATE", "state")];

pub(crate) async fn run(command: &Command, client: &Client, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::List { limit } => {
            let ask = async |page| client.datasets().list_datasets(v1::ListDatasetsRequest { page }).await;
            output.print(&limit.walk(ask).await?, "ListDatasetsResponse", "datasets", DATASETS)
        }
        Command::Get { name } => {
            let request = v1::GetDatasetRequest { name: name.clone() };
            let dataset = client.datasets().get_dataset(request).await.map_err(ApiError::from)?;
            output.print(dataset.get_ref(), "Dataset", "", DATASETS)
        }
        Command::Images { name, verdict, class, limit } => {
            let request = |page| v1::ListImagesRequest {
                dataset: name.clone(),
                verdict: verdict.clone(),
                class: class.clone(),
                page,
            };
            let ask = async |page| client.datasets().list_images(request(page)).await;
            output.print(&limit.walk(ask).await?, "ListImagesResponse", "images", IMAGES)
        }
        Command::Sources { name, outcome, limit } => {
            let request = |page| v1::ListSourcesRequest { dataset: name.clone(), outcome: outcome.clone(), page };
            let ask = async |page| client.datasets().list_sources(request(page)).await;
            output.print(&limit.walk(ask).await?, "ListSourcesResponse", "sources", SOURCES)
        }
        Command::RetrySources { name, ids } => {
            let request = v1::RetrySourcesRequest { dataset: name.clone(), source_ids: ids.clone() };
            let answer = client.datasets().retry_sources(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&answer.pipeline.unwrap_or_default(), "Pipeline", "jobs", JOBS)
        }
        Command::Snapshots { name, limit } => {
            let request = |page| v1::ListSnapshotsRequest { dataset: name.clone(), page };
            let ask = async |page| client.datasets().list_snapshots(request(page)).await;
            output.print(&limit.walk(ask).await?, "ListSnapshotsResponse", "snapshots", SNAPSHOTS)
        }
    }
}
