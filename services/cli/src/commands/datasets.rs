//! `ursa datasets`.

use clap::Subcommand;
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

use super::pages::first_page;
use crate::output::{Column, Output};

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// List datasets.
    List,
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
    },
    /// List what became of every URL.
    Sources {
        /// The dataset.
        name: String,
        /// Only this outcome (pending, fetched, failed) or error class, for instance timeout.
        #[arg(long, default_value = "", hide_default_value = true)]
        outcome: String,
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
    let mut datasets = client.datasets();
    match Request::from(command.clone()) {
        Request::List => {
            let list = datasets.list_datasets(v1::ListDatasetsRequest {}).await.map_err(ApiError::from)?.into_inner();
            output.print(&list, "ListDatasetsResponse", "datasets", DATASETS)
        }
        Request::Get(request) => {
            let dataset = datasets.get_dataset(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&dataset, "Dataset", "", DATASETS)
        }
        Request::Images(request) => {
            let list = datasets.list_images(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&list, "ListImagesResponse", "images", IMAGES)
        }
        Request::Sources(request) => {
            let list = datasets.list_sources(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&list, "ListSourcesResponse", "sources", SOURCES)
        }
        Request::Retry(request) => {
            let answer = datasets.retry_sources(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&answer.pipeline.unwrap_or_default(), "Pipeline", "jobs", JOBS)
        }
        Request::Snapshots(request) => {
            let list = datasets.list_snapshots(request).await.map_err(ApiError::from)?.into_inner();
            output.print(&list, "ListSnapshotsResponse", "snapshots", SNAPSHOTS)
        }
    }
}

/// What to ask the coordinator.
enum Request {
    List,
    Get(v1::GetDatasetRequest),
    Images(v1::ListImagesRequest),
    Sources(v1::ListSourcesRequest),
    Retry(v1::RetrySourcesRequest),
    Snapshots(v1::ListSnapshotsRequest),
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        let page = first_page();
        match command {
            Command::List => Self::List,
            Command::Get { name } => Self::Get(v1::GetDatasetRequest { name }),
            Command::Images { name: dataset, verdict, class } => {
                Self::Images(v1::ListImagesRequest { dataset, verdict, class, page })
            }
            Command::Sources { name: dataset, outcome } => {
                Self::Sources(v1::ListSourcesRequest { dataset, outcome, page })
            }
            Command::RetrySources { name: dataset, ids: source_ids } => {
                Self::Retry(v1::RetrySourcesRequest { dataset, source_ids })
            }
            Command::Snapshots { name: dataset } => Self::Snapshots(v1::ListSnapshotsRequest { dataset }),
        }
    }
}
