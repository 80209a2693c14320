//! The coordinator: gRPC API · Postgres store · dispatcher · reconcilers.
//!
//! Stateless: whatever must survive is in Postgres or the object store, and any number of coordinators may share both.

mod api;
pub mod config;
mod context;
mod dispatch;
pub mod expiry;
mod gathered;
mod guard;
mod hub;
mod loops;
mod marks;
mod pace;
mod reconcile;
mod renewals;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_reflection::server::Builder as Reflection;
use ursa_fetch::{FetchPolicy, Fetcher};
use ursa_proto::MAX_MESSAGE_BYTES;
use ursa_proto::externalscaler::external_scaler_server::{self, ExternalScalerServer};
use ursa_proto::v1::dataset_service_server::{self, DatasetServiceServer};
use ursa_proto::v1::endpoint_service_server::{self, EndpointServiceServer};
use ursa_proto::v1::job_service_server::{self, JobServiceServer};
use ursa_proto::v1::model_service_server::{self, ModelServiceServer};
use ursa_proto::v1::node_service_server::{self, NodeServiceServer};
use ursa_proto::v1::queue_service_server::{self, QueueServiceServer};
use ursa_proto::v1::schedule_service_server::{self, ScheduleServiceServer};
use ursa_proto::v1::webhook_service_server::{self, WebhookServiceServer};
use ursa_proto::v1::worker_service_server::{self, WorkerServiceServer};
use ursa_storage::Storage;

pub use reconcile::takeover_time;

use config::Config;
use context::Context;
use guard::GuardLayer;
use hub::Hub;
use loops::Loops;
use renewals::Renewals;
use store::Store;

const RETRY: Duration = Duration::from_millis(500);
const COMPLAIN_EVERY: u32 = 20;
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a coordinator until told to stop. `listening` hears the address once requests are answered.
///
/// # Errors
/// A configuration that cannot work, a refused migration, a port that is taken, or a loop that broke. An absent Postgres,
/// or object store, is waited for.
pub async fn run(config: Config, stop: CancellationToken, listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    refuse_open_doors(config.listen)?;
    let storage = Storage::open(&config.object_store)?;
    let hub = Arc::new(Hub::default());
    let Some(store) = connect(&config, &hub, &stop).await? else { return Ok(()) };
    if !has_objects(&storage, &stop).await? {
        return Ok(());
    }
    let context = Context {
        store,
        storage,
        hub,
        roster: Arc::default(),
        dispatcher: Arc::default(),
        submissions: Arc::default(),
        completions: Arc::default(),
        renewals: Arc::new(Renewals::new(&config)),
        fetcher: fetcher(&config)?,
        config: Arc::new(config),
    };
    let listener = TcpListener::bind(context.config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", context.config.listen))?;
    let loops = Loops::new(&stop);
    let (hub, hub_store, hub_stop) = (context.hub.clone(), context.store.clone(), loops.stop().clone());
    loops.start(async move { hub.run(hub_store, hub_stop).await });
    dispatch::start(&context, &loops);
    reconcile::start(&context, &loops);
    let address = listener.local_addr()?;
    tracing::info!(%address, "the coordinator is ready");
    listening(address);
    serve(context, listener, loops.stop()).await?;
    loops.end().await
}

/// What sends to webhooks.
fn fetcher(config: &Config) -> anyhow::Result<Fetcher> {
    Ok(Fetcher::new(FetchPolicy {
        timeout: WEBHOOK_TIMEOUT,
        allowed_networks: config.allow_networks.clone(),
        user_agent: format!("ursa/{} (webhooks)", env!("CARGO_PKG_VERSION")),
        ..FetchPolicy::default()
    })?)
}

/// Closed by default: without TLS and tokens nobody beyond this machine may reach a service.
fn refuse_open_doors(listen: SocketAddr) -> anyhow::Result<()> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    anyhow::bail!("refusing to listen on {listen}: without TLS and tokens only loopback addresses are allowed")
}

/// Connects to Postgres and brings its tables up to date, waiting for it if need be; `None` when told to stop meanwhile.
async fn connect(config: &Config, hub: &Arc<Hub>, stop: &CancellationToken) -> anyhow::Result<Option<Store>> {
    let options: PgConnectOptions = config.database_url.parse().context("the database URL does not parse")?;
    let mut tries = 0;
    loop {
        match Store::open(options.clone(), config, hub.clone()).await {
            Ok(store) => return Ok(Some(store)),
            Err(error) if error.is_outage() || error.is_conflict() => complain("Postgres", &error, tries),
            Err(error) => return Err(error).context("Postgres does not serve as the coordinator's database"),
        }
        tries += 1;
        if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
            return Ok(None);
        }
    }
}

/// Whether the object store works, waiting for it if need be; false when told to stop meanwhile.
async fn has_objects(storage: &Storage, stop: &CancellationToken) -> anyhow::Result<bool> {
    let mut tries = 0;
    loop {
        match storage.check().await {
            Ok(()) => return Ok(true),
            Err(error) if error.is_retryable() => complain("the object store", &error, tries),
            Err(error) => return Err(error).context("the object store does not work"),
        }
        tries += 1;
        if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
            return Ok(false);
        }
    }
}

fn complain(about: &str, error: &dyn std::error::Error, tries: u32) {
    if tries.is_multiple_of(COMPLAIN_EVERY) {
        tracing::warn!(%error, "waiting for {about}");
    }
}

macro_rules! service {
    ($server:ident, $api:expr) => {
        $server::new($api).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
    };
}

/// What strangers' clients are told of: the services that are here, not all that the protocol knows.
fn reflection() -> Reflection<'static> {
    let here = [
        job_service_server::SERVICE_NAME,
        dataset_service_server::SERVICE_NAME,
        model_service_server::SERVICE_NAME,
        endpoint_service_server::SERVICE_NAME,
        worker_service_server::SERVICE_NAME,
        node_service_server::SERVICE_NAME,
        queue_service_server::SERVICE_NAME,
        schedule_service_server::SERVICE_NAME,
        webhook_service_server::SERVICE_NAME,
        external_scaler_server::SERVICE_NAME,
        tonic_health::pb::health_server::SERVICE_NAME,
    ];
    let described = Reflection::configure()
        .register_encoded_file_descriptor_set(ursa_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    here.into_iter().fold(described, Reflection::with_service_name)
}

async fn serve(context: Context, listener: TcpListener, stop: &CancellationToken) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<JobServiceServer<api::JobApi>>().await;
    // The builder's own option does not reach connections that it is handed.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder()
        .accept_http1(true)
        // A peer that died without a word is noticed after both.
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        // Sessions and what is watched have begun by then.
        .timeout(context.store.patience().long().longest())
        .layer(GuardLayer::new(&context.config.allow_hosts))
        .layer(tonic_web::GrpcWebLayer::new())
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        // What grpcio's and older tools' reflection clients still speak.
        .add_service(reflection().build_v1alpha()?)
        .add_service(service!(JobServiceServer, api::JobApi(context.clone())))
        .add_service(service!(DatasetServiceServer, api::DatasetApi(context.clone())))
        .add_service(service!(ModelServiceServer, api::ModelApi::new(context.clone())))
        .add_service(service!(EndpointServiceServer, api::EndpointApi(context.clone())))
        .add_service(service!(QueueServiceServer, api::QueueApi(context.clone())))
        .add_service(service!(ScheduleServiceServer, api::ScheduleApi(context.clone())))
        .add_service(service!(WebhookServiceServer, api::WebhookApi(context.clone())))
        .add_service(service!(ExternalScalerServer, api::ScalerApi::new(context.clone())))
        .add_service(service!(WorkerServiceServer, api::WorkerApi(context.clone())))
        .add_service(service!(NodeServiceServer, api::NodeApi(context)))
        .serve_with_incoming(incoming);
    // Sessions never end by themselves, so there is nothing to drain: peers come back and repeat what was not answered.
    tokio::select! {
        outcome = serving => Ok(outcome?),
        () = stop.cancelled() => Ok(()),
    }
}
