//! What a worker can do: one file per kind of job; those that learn share one. Each takes its task and gives back what the coordinator commits.

pub(crate) mod learn;
pub(crate) mod probe;
pub(crate) mod scrape;
pub(crate) mod verify;

use bytes::Bytes;
use ursa_proto::v1;
use ursa_storage::{Key, StorageError};

use crate::tools::Tools;

/// Stores a shard, as a result names it.
async fn put(tools: &Tools, key: Key, bytes: Bytes) -> Result<v1::Shard, StorageError> {
    let size = bytes.len() as u64;
    let digest = tools.storage.put(&key, bytes).await?;
    Ok(v1::Shard { key: key.to_string(), sha256: digest.to_string(), bytes: size })
}
