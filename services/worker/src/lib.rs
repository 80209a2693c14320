//! The worker daemon: takes tasks from the coordinator and does them.
//!
//! - `session` talks with the coordinator, `floor` holds the attempts in work, `execute` takes one from order to end.
//! - `kind` has one file per kind of job; `trainer` is the process that a training run is.
//! - `outbox` and `patience` get logs, measurements and results to a coordinator that may be away for a while.
//!
//! It opens no port and keeps nothing that matters: it may be killed at any moment, and its attempts are made again
//! elsewhere.

mod attempt;
mod config;
mod error;
mod execute;
mod floor;
mod gpus;
mod kind;
mod outbox;
mod patience;
mod session;
mod text;
mod tools;
mod trainer;

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use ursa_client::Client;
use ursa_domain::JobKind;
use ursa_storage::Storage;
use uuid::Uuid;

pub use config::Config;

use floor::Floor;
use session::{Identity, Session};
use tools::Tools;

/// How long attempts have to say how they ended once the worker shall end.
const DRAIN: Duration = Duration::from_secs(8);

/// Runs a worker until told to stop. `started` hears its id.
///
/// # Errors
/// A configuration that cannot work, or a coordinator of another protocol version. A coordinator that is away is waited for;
/// without the object store tasks fail, and are tried again.
pub async fn run(config: Config, stop: CancellationToken, started: impl FnOnce(Uuid)) -> anyhow::Result<()> {
    let client = Client::new(&config.coordinator)?;
    let identity = identify(&config).await?;
    let tools = Tools {
        name: identity.name.clone(),
        client: client.clone(),
        storage: Storage::open(&config.object_store)?,
        allow_networks: config.allow_networks.clone(),
        decoding: Semaphore::new(config.threads()),
        training: Semaphore::new(1),
        threads: config.threads(),
        trainer: config.trainer(),
        cache_dir: config.cache_dir(),
    };
    tracing::info!(name = identity.name, slots = identity.slots, kinds = ?identity.kinds, "the worker has started");
    started(identity.worker_id);

    let floor = Floor::new(tools);
    let session = Session::new(identity, floor.clone());
    // The session outlives the order to stop: leases are renewed until every attempt has said how it ended.
    let ended = CancellationToken::new();
    let mut attending = tokio::spawn({
        let ended = ended.clone();
        async move { ursa_client::session::keep(&client, session, ended).await }
    });
    tokio::select! {
        outcome = &mut attending => return outcome?.context("the coordinator refuses this worker"),
        () = stop.cancelled() => {}
    }
    if tokio::time::timeout(DRAIN, floor.close()).await.is_err() {
        tracing::warn!("some attempts could not say how they ended; their leases will run out");
    }
    ended.cancel();
    attending.await?.context("the coordinator refuses this worker")
}

/// Who the worker is. One whose trainer does not run offers no training, unless training was asked for.
async fn identify(config: &Config) -> anyhow::Result<Identity> {
    let mut kinds = config.kinds();
    if kinds.contains(&JobKind::Train) {
        match trainer::describe(&config.trainer()).await {
            Ok(description) => tracing::info!(%description, "training runs here"),
            Err(error) if config.kinds.contains(&JobKind::Train) => return Err(error),
            Err(error) => {
                tracing::warn!("no training here: {error:#}");
                kinds.retain(|kind| *kind != JobKind::Train);
            }
        }
    }
    Ok(Identity {
        worker_id: Uuid::now_v7(),
        name: config.name(),
        slots: config.slots(),
        kinds: kinds.iter().map(ToString::to_string).collect(),
        gpus: gpus::list().await,
    })
}
