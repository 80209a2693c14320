//! A transaction that wakes whoever has something to look at, once it is committed.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::{PgConnection, Postgres, Transaction};
use tracing::Instrument as _;

use super::{StoreError, StoreResult, Topic};
use crate::hub::Hub;

/// A transaction on the coordinator's database; undone when dropped.
#[derive(Debug)]
pub(crate) struct Tx {
    inner: Transaction<'static, Postgres>,
    hub: Arc<Hub>,
    topics: Vec<Topic>,
}

impl Tx {
    pub(super) fn new(inner: Transaction<'static, Postgres>, hub: Arc<Hub>) -> Self {
        Self { inner, hub, topics: Vec::new() }
    }

    /// Has `topic` woken, here and in the other coordinators, when this transaction commits.
    pub(crate) fn hint(&mut self, topic: Topic) {
        if !self.topics.contains(&topic) {
            self.topics.push(topic);
        }
    }

    /// As [`Tx::hint`], of each.
    pub(super) fn hint_all(&mut self, topics: &[Topic]) {
        for topic in topics {
            self.hint(*topic);
        }
    }

    /// Commits, and wakes: also where whoever asked for it goes meanwhile. What has been sent to the database is committed all
    /// the same then, and somebody may wait for it.
    pub(crate) async fn commit(self) -> StoreResult<()> {
        let Self { inner, hub, topics } = self;
        let committing = async move {
            inner.commit().await?;
            hub.committed(&topics);
            Ok(())
        };
        // It is given up only when this coordinator ends.
        let gone = |_| Err(StoreError::Database(sqlx::Error::WorkerCrashed));
        tokio::spawn(committing.in_current_span()).await.unwrap_or_else(gone)
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
