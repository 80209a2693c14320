//! The object store: typed keys, shards, manifests, model packages and logs.
//!
//! Objects are immutable and their keys are made here, never from users' strings. Which objects count is Postgres's
//! affair; this crate neither knows nor asks.

mod columns;
mod digest;
mod error;
mod key;
pub mod log;
pub mod manifest;
pub mod package;
pub mod predictions;
pub mod shard;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;

pub use digest::Digest;
pub use error::StorageError;
pub use key::{Key, ModelFile};
pub use storage::Storage;
