//! A coordinator's node service that orders what the test says and remembers what the node reported.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use ursa_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use ursa_proto::{ApiError, ErrorCode, v1};

use super::PATIENCE;

#[derive(Debug, Clone)]
struct Script {
    orders: watch::Sender<Vec<v1::EndpointOrder>>,
    reports: Arc<watch::Sender<Option<v1::NodeReport>>>,
    refuse: bool,
    stop: CancellationToken,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) address: SocketAddr,
    script: Script,
    generation: u64,
}

impl Coordinator {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), false).await
    }

    /// One that speaks another version of the protocol.
    pub(crate) async fn of_another_version() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), true).await
    }

    /// One at the address of one that is gone.
    pub(crate) async fn start_at(address: SocketAddr, refuse: bool) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Script {
            orders: watch::Sender::new(Vec::new()),
            reports: Arc::new(watch::Sender::new(None)),
            refuse,
            stop: CancellationToken::new(),
        };
        let service = NodeServiceServer::new(script.clone());
        let incoming = TcpListenerStream::new(listener);
        let stop = script.stop.clone().cancelled_owned();
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, stop));
        Self { address, script, generation: 0 }
    }

    /// Orders the node to serve exactly these (endpoint, digest).
    pub(crate) fn order(&mut self, endpoints: &[(&str, &str)]) {
        self.generation += 1;
        let order = |(endpoint, digest): &(&str, &str)| v1::EndpointOrder {
            endpoint: (*endpoint).to_owned(),
            model_digest: (*digest).to_owned(),
            generation: self.generation,
        };
        self.script.orders.send_replace(endpoints.iter().map(order).collect());
    }

    /// Waits for a report for which `holds`.
    pub(crate) async fn report(&self, what: &str, holds: impl Fn(&v1::NodeReport) -> bool) -> v1::NodeReport {
        let mut reports = self.script.reports.subscribe();
        let found = tokio::time::timeout(PATIENCE, reports.wait_for(|last| last.as_ref().is_some_and(&holds))).await;
        match found {
            Ok(report) => report.unwrap().clone().unwrap(),
            Err(late) => panic!("no report of {what}: {late}; the last was {:#?}", self.script.reports.borrow()),
        }
    }

    /// Waits until `endpoint` is in `state` with the model `digest`.
    pub(crate) async fn state(&self, endpoint: &str, digest: &str, state: &str) -> v1::EndpointStatus {
        let is_it = |status: &&v1::EndpointStatus| {
            status.endpoint == endpoint && status.model_digest == digest && status.state == state
        };
        let report = self.report(state, |report| report.endpoints.iter().any(|status| is_it(&status))).await;
        report.endpoints.iter().find(is_it).unwrap().clone()
    }

    /// Goes away and cuts every session.
    pub(crate) fn stop(&self) {
        self.script.stop.cancel();
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tonic::async_trait]
impl NodeService for Script {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::NodeOrders, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::NodeReport>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (sender, receiver) = mpsc::channel(4);
        let (script, mut reports) = (self.clone(), request.into_inner());
        let mut orders = script.orders.subscribe();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    report = reports.message() => {
                        let Ok(Some(report)) = report else { return };
                        script.reports.send_replace(Some(report));
                    }
                    changed = orders.changed() => if changed.is_err() { return },
                    () = script.stop.cancelled() => return,
                }
                let endpoints = orders.borrow_and_update().clone();
                let answer = if script.refuse {
                    let message = "the node speaks protocol version 1, this coordinator 2";
                    Err(ApiError::new(ErrorCode::ProtocolMismatch, message).into())
                } else {
                    Ok(v1::NodeOrders { endpoints, report_interval_ms: 200 })
                };
                if sender.send(answer).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_nodes(&self, _: Request<v1::ListNodesRequest>) -> Result<Response<v1::ListNodesResponse>, Status> {
        Err(Status::unimplemented("nodes do not ask for nodes"))
    }
}
