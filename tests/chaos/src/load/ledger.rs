//! What users write down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::acts::Done;
use crate::history::{Drained, Submitted};

/// What was asked for, and what was seen of it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Pipelines.
    pub submitted: Vec<Submitted>,
    /// The datasets that the lists were scraped into.
    pub datasets: Vec<String>,
    /// Ids of events, pipeline by pipeline, in the order in which they came.
    pub watched: BTreeMap<Uuid, Vec<i64>>,
    /// The same of everything.
    pub watched_everything: Vec<i64>,
    /// Jobs that were cancelled before they had ended.
    pub cancelled: BTreeSet<Uuid>,
    /// When which workers were to take nothing.
    pub drained: Vec<Drained>,
    /// What was done to work on its way.
    pub acts: Vec<Done>,
}

impl Asked {
    /// The pipeline that a key was answered with.
    pub(super) fn pipeline(&self, key: &str) -> Option<Uuid> {
        self.submitted.iter().find(|submitted| submitted.key == key).map(|submitted| submitted.pipeline)
    }
}

/// What all users write down, at once: it is there even when one of them never comes back.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Asked>>);

impl Ledger {
    pub(super) fn lock(&self) -> MutexGuard<'_, Asked> {
        // Whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
