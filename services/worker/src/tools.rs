//! What all attempts of a worker share.

use std::path::PathBuf;

use tokio::sync::Semaphore;
use ursa_client::Client;
use ursa_fetch::Network;
use ursa_storage::Storage;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tools {
    /// The worker's name, for messages.
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) storage: Storage,
    /// Private networks that URLs may lead to.
    pub(crate) allow_networks: Vec<Network>,
    /// One permit per thread that may decode.
    pub(crate) decoding: Semaphore,
    /// One permit: a training run takes all threads, or the GPU.
    pub(crate) training: Semaphore,
    pub(crate) threads: usize,
    pub(crate) trainer: PathBuf,
    pub(crate) cache_dir: PathBuf,
}
