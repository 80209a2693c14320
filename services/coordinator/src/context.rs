//! What every part of the coordinator shares.

use std::sync::Arc;

use crate::config::Config;
use crate::hub::Hub;
use crate::store::Store;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The database.
    pub store: Store,
    /// The object store.
    pub storage: ursa_storage::Storage,
    /// Wake-ups.
    pub hub: Arc<Hub>,
    /// Settings.
    pub config: Arc<Config>,
}
