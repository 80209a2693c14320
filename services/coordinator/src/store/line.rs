//! A connection of their own for those who come one after the other, and whom everybody waits for. A pool asks every connection
//! that comes back whether it still works; this one is used again as it is, and dropped when it does not.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _, PgConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::{ACQUIRE_TIMEOUT, StoreError, StoreResult};

/// See the module. Connects when it is first used.
#[derive(Debug, Clone)]
pub(super) struct Line {
    options: Arc<PgConnectOptions>,
    idle: Arc<Mutex<Option<PgConnection>>>,
}

impl Line {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options: Arc::new(options), idle: Arc::default() }
    }

    /// Waits for those who came before. Whoever drops what it holds without [`Held::put_back`] closes the connection: nobody
    /// knows what state it is in.
    pub(super) async fn hold(&self) -> StoreResult<Held> {
        let holding = async {
            let mut place = self.idle.clone().lock_owned().await;
            let connection = match place.take() {
                Some(connection) => connection,
                None => self.options.connect().await?,
            };
            Ok(Held { connection, place })
        };
        timeout(ACQUIRE_TIMEOUT, holding).await.unwrap_or(Err(StoreError::Database(sqlx::Error::PoolTimedOut)))
    }
}

/// The connection, while nobody else has it.
#[derive(Debug)]
pub(super) struct Held {
    connection: PgConnection,
    place: OwnedMutexGuard<Option<PgConnection>>,
}

impl Held {
    /// Leaves the connection to the next one, unless the `answer` it gave last says that it broke.
    pub(super) fn put_back<T>(self, answer: Result<T, impl Into<StoreError>>) -> StoreResult<T> {
        let Self { connection, mut place } = self;
        let answer = answer.map_err(Into::into);
        if !answer.as_ref().is_err_and(StoreError::is_outage) {
            *place = Some(connection);
        }
        answer
    }

    /// Ends the transaction that was begun on it by `statement`.
    pub(super) async fn end(mut self, statement: &'static str) -> StoreResult<()> {
        let ended = self.connection.execute(statement).await;
        self.put_back(ended.map(drop))
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
