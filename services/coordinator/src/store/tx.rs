//! A transaction that wakes whoever has something to look at, once it is committed.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::{Executor as _, PgConnection, Postgres, Transaction};
use tracing::Instrument as _;

use super::line::{Held, Line};
use super::patience::Patience;
use super::{StoreError, StoreResult, Topic};
use crate::hub::Hub;

/// A transaction on the coordinator's database; undone when dropped.
#[derive(Debug)]
pub(crate) struct Tx {
    inner: Inner,
    hub: Arc<Hub>,
    patience: Patience,
    topics: Vec<Topic>,
}

#[derive(Debug)]
enum Inner {
    Pooled(Transaction<'static, Postgres>),
    /// On a line that others wait for.
    OnLine(Held),
}

impl Tx {
    pub(super) fn new(inner: Transaction<'static, Postgres>, hub: Arc<Hub>, patience: Patience) -> Self {
        Self { inner: Inner::Pooled(inner), hub, patience, topics: Vec::new() }
    }

    pub(super) async fn on(line: &Line, hub: Arc<Hub>, patience: Patience) -> StoreResult<Self> {
        let mut held = line.hold().await?;
        held.execute("begin").await?;
        Ok(Self { inner: Inner::OnLine(held), hub, patience, topics: Vec::new() })
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
        let Self { inner, hub, patience, topics } = self;
        let commit = async move {
            match inner {
                Inner::Pooled(transaction) => Ok(transaction.commit().await?),
                Inner::OnLine(held) => held.end("commit").await,
            }
        };
        let committing = async move {
            patience.with(commit).await?;
            hub.committed(&topics);
            Ok(())
        };
        // It is given up only when this coordinator ends.
        let gone = |_| Err(StoreError::Database(sqlx::Error::WorkerCrashed));
        tokio::spawn(committing.in_current_span()).await.unwrap_or_else(gone)
    }

    /// Undoes it now: dropped, one on a line takes its connection with it.
    pub(crate) async fn undo(self) -> StoreResult<()> {
        match self.inner {
            Inner::Pooled(transaction) => Ok(transaction.rollback().await?),
            Inner::OnLine(held) => held.end("rollback").await,
        }
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.inner {
            Inner::Pooled(transaction) => transaction,
            Inner::OnLine(held) => held,
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.inner {
            Inner::Pooled(transaction) => transaction,
            Inner::OnLine(held) => held,
        }
    }
}
