//! What every part of the coordinator shares.

use std::sync::Arc;

use crate::config::Config;
use crate::hub::Hub;
use crate::store::Store;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The database.
    pub(crate) store: Store,
    /// The object store.
    pub(crate) storage: ursa_storage::Storage,
    /// Wake-ups.
    pub(crate) hub: Arc<Hub>,
    /// Settings.
    pub(crate) config: Arc<Config>,
}
