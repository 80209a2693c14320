//! The two listening servers, and how they stop: no new requests, the running ones finish, within bounds.

use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder as Reflection;
use ursa_proto::MAX_INFERENCE_MESSAGE_BYTES;
use ursa_proto::inference::grpc_inference_service_server::{GrpcInferenceServiceServer, SERVICE_NAME};

use crate::catalog::Catalog;
use crate::open_inference::InferenceApi;
use crate::predict::Predictor;

const DRAIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Answers HTTP until stopped.
pub(crate) async fn http(
    predictor: Arc<Predictor>,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Small answers would wait for the client's word that it has the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers on this connection may be late");
        }
    });
    let serving = axum::serve(listener, crate::http::router(predictor));
    let serving = serving.with_graceful_shutdown(stop.clone().cancelled_owned());
    within_bounds(async { serving.await.map_err(Into::into) }, &stop).await
}

/// Answers gRPC, and gRPC-web, until stopped.
pub(crate) async fn grpc(
    predictor: Arc<Predictor>,
    catalog: watch::Receiver<Catalog>,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let inference = GrpcInferenceServiceServer::new(InferenceApi(predictor))
        .max_decoding_message_size(MAX_INFERENCE_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_INFERENCE_MESSAGE_BYTES);
    // The builder's own option does not reach connections that it is handed.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .layer(tonic_web::GrpcWebLayer::new())
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        // What grpcio's and older tools' reflection clients still speak.
        .add_service(reflection().build_v1alpha()?)
        .add_service(inference)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tokio::select! {
        outcome = within_bounds(async { serving.await.map_err(Into::into) }, &stop) => outcome,
        never = tell_health(&health, catalog) => match never {},
    }
}

/// What strangers' clients are told of: the services that are here, not all that the protocol knows.
fn reflection() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(ursa_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(SERVICE_NAME)
        .with_service_name(tonic_health::pb::health_server::SERVICE_NAME)
}

/// Keeps the health service in step with the catalog.
async fn tell_health(health: &HealthReporter, mut catalog: watch::Receiver<Catalog>) -> std::convert::Infallible {
    loop {
        let ready = catalog.borrow_and_update().is_ready();
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status(SERVICE_NAME, status).await;
        if catalog.changed().await.is_err() {
            // Nothing will change any more: the node is stopping.
            std::future::pending::<()>().await;
        }
    }
}

/// Lets running requests finish after `stop`, but not for ever.
async fn within_bounds(
    serving: impl Future<Output = anyhow::Result<()>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        outcome = serving => outcome,
        () = overdue => {
            tracing::warn!("requests that were still running have been dropped");
            Ok(())
        }
    }
}
