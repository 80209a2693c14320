//! The Rust client: a connection to the coordinator with every service on it, typed errors, pipeline files, lists
//! of any length, what jobs that learn leave behind, and the session that workers and nodes keep up.
//!
//! The command line, the dashboard, workers and nodes all use this crate and nothing else to reach the coordinator.

mod connection;
pub mod explanation;
pub mod learned;
pub mod pages;
pub mod pipeline_file;
pub mod priority;
pub mod session;

use tonic::transport::Channel;
use ursa_proto::v1::dataset_service_client::DatasetServiceClient;
use ursa_proto::v1::endpoint_service_client::EndpointServiceClient;
use ursa_proto::v1::job_service_client::JobServiceClient;
use ursa_proto::v1::model_service_client::ModelServiceClient;
use ursa_proto::v1::node_service_client::NodeServiceClient;
use ursa_proto::v1::queue_service_client::QueueServiceClient;
use ursa_proto::v1::schedule_service_client::ScheduleServiceClient;
use ursa_proto::v1::webhook_service_client::WebhookServiceClient;
use ursa_proto::v1::worker_service_client::WorkerServiceClient;
use ursa_proto::{ApiError, MAX_MESSAGE_BYTES};

use connection::Connection;

/// Environment variable that names the coordinator.
pub const COORDINATOR_VARIABLE: &str = "URSA_COORDINATOR";
/// Where the coordinator answers unless told otherwise.
pub const DEFAULT_COORDINATOR: &str = "http://127.0.0.1:7400";

/// A connection to the coordinator. Cheap to clone; connects when first used and again whenever the connection breaks.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
}

macro_rules! service {
    ($(#[$doc:meta])* $method:ident, $client:ident) => {
        $(#[$doc])*
        pub fn $method(&self) -> $client<Channel> {
            // What is too large to send is for the coordinator to refuse: it says so, a limit here would cut the connection.
            $client::new(self.connection.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES)
        }
    };
}

impl Client {
    /// A client for the coordinator at `address`, for instance `http://127.0.0.1:7400`. Does not connect yet.
    ///
    /// # Errors
    /// `InvalidArgument` when `address` is not an http URL.
    pub fn new(address: &str) -> Result<Self, ApiError> {
        Self::of_several([address])
    }

    /// A client for whichever of several coordinators of one system can be reached, beginning with any of them. Does not
    /// connect yet.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no address, or one that is not an http URL.
    pub fn of_several<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Result<Self, ApiError> {
        Ok(Self { connection: Connection::new(addresses)? })
    }

    /// Where the coordinator is; of several, the one that was reached last.
    pub fn address(&self) -> &str {
        self.connection.address()
    }

    /// Leaves a coordinator that does not answer for the next one, where there are several. Clones go with it.
    pub fn turn(&self) {
        self.connection.turn();
    }

    service!(
        /// Jobs and pipelines.
        jobs,
        JobServiceClient
    );
    service!(
        /// Datasets, images and snapshots.
        datasets,
        DatasetServiceClient
    );
    service!(
        /// Models.
        models,
        ModelServiceClient
    );
    service!(
        /// Endpoints.
        endpoints,
        EndpointServiceClient
    );
    service!(
        /// Workers.
        workers,
        WorkerServiceClient
    );
    service!(
        /// Nodes.
        nodes,
        NodeServiceClient
    );
    service!(
        /// Projects and queues.
        queues,
        QueueServiceClient
    );
    service!(
        /// Schedules.
        schedules,
        ScheduleServiceClient
    );
    service!(
        /// Webhooks.
        webhooks,
        WebhookServiceClient
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use ursa_proto::v1;

    use super::*;

    /// A coordinator killed while it owes an answer must look like one that is away: the call is to be repeated.
    #[tokio::test]
    async fn a_connection_that_breaks_while_an_answer_is_awaited_is_worth_another_try() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                // The preface, the settings and the request are read, and then it is gone.
                let mut heard = [0; 1024];
                let mut total = 0;
                while total < 100 {
                    total += socket.read(&mut heard).await.unwrap().max(1);
                }
            }
        });
        let mut jobs = client.jobs();
        let asked = jobs.list_jobs(v1::ListJobsRequest::default());
        let status = tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap().unwrap_err();
        let error = ApiError::from(status);
        assert!(error.is_retryable(), "{error:?}");
    }
}
