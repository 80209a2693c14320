//! What all attempts of a worker share.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Semaphore;
use ursa_client::Client;
use ursa_fetch::Network;
use ursa_storage::Storage;

use crate::disk::Disk;
use crate::endings::Endings;
use crate::gpus::Gpus;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tools {
    /// The worker's name, for messages.
    pub(crate) name: String,
    /// Attempts it works on at a time.
    pub(crate) slots: u32,
    pub(crate) client: Client,
    pub(crate) endings: Endings,
    pub(crate) storage: Storage,
    pub(crate) disk: Disk,
    pub(crate) gpus: Gpus,
    /// Private networks that URLs may lead to.
    pub(crate) allow_networks: Vec<Network>,
    /// One permit per thread that may decode.
    pub(crate) decoding: Semaphore,
    /// One permit, for the training run on the processor: it takes all threads.
    pub(crate) training: Semaphore,
    pub(crate) threads: usize,
    pub(crate) trainer: PathBuf,
    /// How long a training run that shall stop may take to end by itself.
    pub(crate) stop_grace: Duration,
    /// How old the last checkpoint of a training run may get.
    pub(crate) checkpoint_every: Duration,
    pub(crate) cache_dir: PathBuf,
}
