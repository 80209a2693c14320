//! Starts the dashboard and the scripted coordinator, and asks over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;
use ursa_dashboard::Config;
use ursa_proto::v1::dataset_service_server::DatasetServiceServer;
use ursa_proto::v1::endpoint_service_server::EndpointServiceServer;
use ursa_proto::v1::job_service_server::JobServiceServer;
use ursa_proto::v1::model_service_server::ModelServiceServer;
use ursa_proto::v1::node_service_server::NodeServiceServer;
use ursa_proto::v1::queue_service_server::QueueServiceServer;
use ursa_proto::v1::schedule_service_server::ScheduleServiceServer;
use ursa_proto::v1::webhook_service_server::WebhookServiceServer;
use ursa_proto::v1::worker_service_server::WorkerServiceServer;

use crate::fake::{Fake, Script};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A dashboard that runs until dropped.
pub(crate) struct Dashboard {
    pub address: SocketAddr,
    pub http: reqwest::Client,
    /// Ends the dashboard, and what else a test wants ended with it.
    pub ends: Vec<DropGuard>,
}

/// What came back.
pub(crate) struct Page {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Dashboard {
    /// In front of the coordinator at `coordinator`, which need not be there.
    pub(crate) async fn start(coordinator: SocketAddr) -> Self {
        let config =
            Config { coordinator: format!("http://{coordinator}"), listen: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let stop = CancellationToken::new();
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(ursa_dashboard::run(config, stop.clone(), |address| sender.send(address).unwrap()));
        let address = tokio::time::timeout(PATIENCE, receiver).await.unwrap().unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self { address, http, ends: vec![stop.drop_guard()] }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        Page::from(self.http.get(self.url(path)).send().await.unwrap()).await
    }

    /// As the dashboard's own pages do.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Page {
        let request = self
            .http
            .post(self.url(path))
            .header("origin", format!("http://{}", self.address))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.to_owned());
        Page::from(request.send().await.unwrap()).await
    }
}

impl Page {
    pub(crate) async fn from(answer: reqwest::Response) -> Self {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Self { status, headers, body: answer.text().await.unwrap() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Fails with the page where `text` is not on it.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> &Self {
        assert!(self.body.contains(text), "{text:?} is missing (status {}):\n{}", self.status, self.body);
        self
    }

    #[track_caller]
    pub(crate) fn lacks(&self, text: &str) -> &Self {
        assert!(!self.body.contains(text), "{text:?} must not be there:\n{}", self.body);
        self
    }
}

/// A dashboard before a coordinator with `script`.
pub(crate) async fn start(script: Script) -> (Dashboard, Fake) {
    let fake = Fake::new(script);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = serve(&fake, listener);
    let mut dashboard = Dashboard::start(address).await;
    dashboard.ends.push(stop.drop_guard());
    (dashboard, fake)
}

/// Answers on `listener` until the token is cancelled and what is in flight has ended.
pub(crate) fn serve(fake: &Fake, listener: TcpListener) -> CancellationToken {
    let stop = CancellationToken::new();
    let serving = Server::builder()
        .add_service(JobServiceServer::new(fake.clone()))
        .add_service(DatasetServiceServer::new(fake.clone()))
        .add_service(ModelServiceServer::new(fake.clone()))
        .add_service(EndpointServiceServer::new(fake.clone()))
        .add_service(WorkerServiceServer::new(fake.clone()))
        .add_service(NodeServiceServer::new(fake.clone()))
        .add_service(QueueServiceServer::new(fake.clone()))
        .add_service(ScheduleServiceServer::new(fake.clone()))
        .add_service(WebhookServiceServer::new(fake.clone()))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
    tokio::spawn(serving);
    stop
}
