//! The worker daemon: takes tasks from the coordinator and does them.
//!
//! - `session` talks with the coordinator, `floor` holds the attempts in work, `execute` takes one from order to end.
//! - `kind` has one file per kind of job; `trainer` is the process that a training run is.
//! - `diary`, `endings` and `patience` get logs, measurements and results to a coordinator that may be away for a while.
//! - `gpus`, `disk` and `label` say what the machine has; they are looked at again and again, for machines break.
//!
//! Nothing here asks what time it is, but for the dates that people read: clocks jump.
//!
//! It opens no port and keeps nothing that matters: it may be killed at any moment, and its attempts are made again
//! elsewhere.

mod attempt;
mod config;
mod diary;
mod disk;
mod endings;
mod error;
mod execute;
mod floor;
mod gpus;
mod kind;
mod label;
mod lines;
mod news;
mod patience;
mod session;
mod stop;
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
pub use gpus::{GpuChoice, PretendedGpus};
pub use label::Label;

use disk::Disk;
use endings::Endings;
use floor::Floor;
use gpus::Gpus;
use session::{Identity, Session};
use tools::Tools;

/// How long attempts that were stopped have to say how they ended, beyond what a trainer may take.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// Runs a worker until told to stop. `started` hears its id.
///
/// # Errors
/// A configuration that cannot work, or a coordinator of another protocol version. A coordinator that is away is waited for;
/// without the object store tasks fail, and are tried again.
pub async fn run(config: Config, stop: CancellationToken, started: impl FnOnce(Uuid)) -> anyhow::Result<()> {
    let client = Client::of_several(config.coordinators.iter().map(String::as_str))?;
    let identity = identify(&config).await?;
    let tools = Tools {
        name: identity.name.clone(),
        slots: identity.slots,
        client: client.clone(),
        endings: Endings::gather(client.clone()),
        storage: Storage::open(&config.object_store)?,
        disk: Disk::watch(config.folders(), config.min_free_disk.0).await,
        gpus: identity.gpus.clone(),
        allow_networks: config.allow_networks.clone(),
        decoding: Semaphore::new(config.threads()),
        training: Semaphore::new(1),
        threads: config.threads(),
        trainer: config.trainer(),
        stop_grace: config.stop_grace,
        checkpoint_every: config.checkpoint_every,
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
        outcome = &mut attending => {
            // Nobody renews the leases any more: what is in work is given back while they last.
            floor.close();
            clear(&floor, &config).await;
            return outcome?.context("the coordinator refuses this worker");
        }
        () = stop.cancelled() => {}
    }
    leave(&floor, &config).await;
    ended.cancel();
    attending.await?.context("the coordinator refuses this worker")
}

/// Takes no more, finishes what can be finished in time, stops the rest and gives it back.
async fn leave(floor: &Floor, config: &Config) {
    floor.close();
    if tokio::time::timeout(config.drain_timeout, floor.is_empty()).await.is_ok() {
        return;
    }
    clear(floor, config).await;
}

/// Stops everything and gives it back.
async fn clear(floor: &Floor, config: &Config) {
    floor.clear();
    if tokio::time::timeout(config.stop_grace + LAST_WORDS, floor.is_empty()).await.is_err() {
        tracing::warn!("some attempts could not say how they ended; their leases will run out");
    }
}

/// Who the worker is. One whose trainer does not run offers no training, unless training was asked for.
async fn identify(config: &Config) -> anyhow::Result<Identity> {
    let mut kinds = config.kinds();
    let needs_trainer = |kind: &JobKind| kind.learns() || matches!(kind, JobKind::Explain | JobKind::SgdLab);
    if kinds.iter().any(needs_trainer) {
        match trainer::describe(&config.trainer()).await {
            Ok(description) => tracing::info!(%description, "training runs here"),
            Err(error) if config.kinds.iter().any(needs_trainer) => return Err(error),
            Err(error) => {
                tracing::warn!("no training here: {error:#}");
                kinds.retain(|kind| !needs_trainer(kind));
            }
        }
    }
    Ok(Identity {
        worker_id: Uuid::now_v7(),
        name: config.name(),
        code_version: config.code_version.clone(),
        slots: config.slots(),
        kinds: kinds.iter().map(ToString::to_string).collect(),
        labels: label::by_name(&config.labels)?,
        gpus: match config.pretend_gpus.clone() {
            Some(pretended) => Gpus::pretend(pretended),
            None => Gpus::watch(config.gpus.clone().unwrap_or_default()).await,
        },
    })
}
