//! What every part of the coordinator shares.

use std::sync::Arc;

use crate::config::Config;
use crate::dispatch::{Completions, Dispatcher, Roster, Submissions};
use crate::hub::Hub;
use crate::renewals::Renewals;
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
    /// The workers attached here.
    pub(crate) roster: Arc<Roster>,
    /// Gives out tasks.
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// Pipelines on their way in.
    pub(crate) submissions: Arc<Submissions>,
    /// Short attempts on their way to an end.
    pub(crate) completions: Arc<Completions>,
    /// Whether leases are renewed.
    pub(crate) renewals: Arc<Renewals>,
    /// Sends to webhooks.
    pub(crate) fetcher: ursa_fetch::Fetcher,
    /// Settings.
    pub(crate) config: Arc<Config>,
}
