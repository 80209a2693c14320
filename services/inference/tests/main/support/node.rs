//! A node with its coordinator and its store.

use clap::Parser as _;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use ursa_inference::{Addresses, Config};
use ursa_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use ursa_storage::Storage;
use ursa_storage::package::ModelPackage;

use super::{Coordinator, PATIENCE, package};

/// A store and a coordinator, before there is a node.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) coordinator: Coordinator,
    pub(crate) storage: Storage,
    pub(crate) objects: TempDir,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        let objects = tempfile::tempdir().unwrap();
        let storage = Storage::open(objects.path().to_str().unwrap()).unwrap();
        Self { coordinator: Coordinator::start().await, storage, objects }
    }

    /// Stores a package and gives its digest.
    pub(crate) async fn store(&self, package: &ModelPackage) -> String {
        package.upload(&self.storage).await.unwrap().to_string()
    }

    /// What a node is started with.
    pub(crate) fn flags(&self, more: &[&str]) -> Vec<String> {
        let coordinator = format!("http://{}", self.coordinator.address);
        let objects = self.objects.path().to_str().unwrap();
        let flags = ["--coordinator", &coordinator, "--object-store", objects, "--name", "test", "--threads", "1"];
        flags.iter().chain(more).map(ToString::to_string).collect()
    }

    /// Starts a node.
    pub(crate) async fn start(self, more: &[&str]) -> Node {
        let config = Config::parse_from(std::iter::once("ursa-inference".to_owned()).chain(self.flags(more)));
        let (sender, listening) = oneshot::channel();
        let stop = CancellationToken::new();
        let service = ursa_inference::run(config, stop.clone(), |addresses| drop(sender.send(addresses.clone())));
        let task = tokio::spawn(service);
        let addresses = listening.await.expect("the node ended before it listened");
        // reqwest is built without a provider of its own; a second installation is refused, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Node { setup: self, addresses, http, stop, task }
    }
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) setup: Setup,
    pub(crate) addresses: Addresses,
    pub(crate) http: reqwest::Client,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

impl Node {
    /// A node that serves a model as `bears`, with the model's digest.
    pub(crate) async fn serving(more: &[&str]) -> (Self, String) {
        let mut setup = Setup::new().await;
        let digest = setup.store(&package(1)).await;
        setup.coordinator.order(&[("bears", &digest)]);
        let node = setup.start(more).await;
        node.setup.coordinator.state("bears", &digest, "ready").await;
        (node, digest)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.addresses.http)
    }

    /// Posts a body, and gives the answer's status and JSON.
    pub(crate) async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> (u16, serde_json::Value) {
        let request = self.http.post(self.url(path)).header("content-type", content_type).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Gets a path, and gives the answer's status and text.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(self.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.addresses.grpc.clone()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn grpc(&self) -> GrpcInferenceServiceClient<Channel> {
        GrpcInferenceServiceClient::new(self.channel().await)
    }

    /// Stops the node, which must end well.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        ended(self.task).await.unwrap();
    }
}

/// How the node ended.
pub(crate) async fn ended(task: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::time::timeout(PATIENCE, task).await.expect("the node does not end").unwrap()
}
