//! How long Postgres is waited for. One whose machine vanishes sends no answer and no error either, and a connection that waits
//! for an answer would wait for ever.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor as _, PgConnection, Row as _};
use tokio::time::timeout;

use super::StoreError;

/// As long as a statement takes at most, with all the locks it waits for. Its clones share what they found out.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    longest: Duration,
    /// When an answer last failed to come.
    silent_at: Arc<Mutex<Option<Instant>>>,
}

impl Patience {
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, silent_at: Arc::default() }
    }

    /// For what takes many statements and is begun again where it was left.
    pub(crate) fn long(&self) -> Self {
        Self { longest: self.longest * 10, silent_at: self.silent_at.clone() }
    }

    /// The time.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// Does `work`, unless that takes too long: then it is dropped where it is, and that counts as an outage.
    pub(crate) fn with<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        // Some are large.
        let work = Box::pin(work);
        async move { self.answer(work).await.unwrap_or_else(|silent| Err(StoreError::from(silent).into())) }
    }

    /// What comes, if it does in time.
    pub(super) async fn answer<T>(&self, coming: impl Future<Output = T>) -> sqlx::Result<T> {
        timeout(self.longest, coming).await.map_err(|_| {
            *self.silence() = Some(Instant::now());
            silent()
        })
    }

    fn silence(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a pool use no connection that may be lost. Those that come back are closed where they say nothing more, which sqlx
    /// itself would wait for; and where they are within a transaction that nobody knows of, for it was given up while it began:
    /// what the next one does there would never be committed. Those that have been idle since somebody waited in vain may
    /// lead to the same machine.
    pub(super) fn keeps_whole(&self, pool: PgPoolOptions) -> PgPoolOptions {
        let (longest, patience) = (self.longest, self.clone());
        let pool = pool.after_release(move |connection: &mut PgConnection, _| {
            Box::pin(async move {
                match timeout(longest, is_between_transactions(connection)).await {
                    Ok(Ok(is_between)) => Ok(is_between),
                    Ok(Err(sqlx::Error::Database(_))) => Ok(false),
                    // sqlx finds out that it broke, and says so.
                    Ok(Err(_)) => Ok(true),
                    Err(_) => Err(silent()),
                }
            })
        });
        pool.before_acquire(move |_, connection| {
            let was_used_since = |silent_at: Instant| connection.idle_for < silent_at.elapsed();
            let is_well = patience.silence().is_none_or(was_used_since);
            Box::pin(std::future::ready(Ok(is_well)))
        })
    }
}

/// By PostgreSQL's clocks of a transaction and of a statement: they are the same for the first statement of one. Asked by the
/// simple protocol, where that is a single message.
async fn is_between_transactions(connection: &mut PgConnection) -> sqlx::Result<bool> {
    connection.fetch_one(sqlx::raw_sql("select now() = statement_timestamp()")).await?.try_get(0)
}

fn silent() -> sqlx::Error {
    sqlx::Error::Io(ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;
    use ursa_cluster::Postgres;

    use super::*;

    async fn backend(pool: &PgPool) -> i32 {
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(pool).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_an_outage_and_one_that_comes_late_is_not() {
        let patience = Patience::new(Duration::from_mins(1));
        let never = patience.with(std::future::pending::<Result<(), StoreError>>()).await;
        assert!(never.unwrap_err().is_outage());
        let late = async {
            tokio::time::sleep(Duration::from_secs(599)).await;
            Ok::<_, StoreError>(7)
        };
        assert_eq!(patience.long().with(late).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_connection_that_comes_back_within_a_transaction_is_not_used_again() {
        let postgres = Postgres::start().unwrap();
        let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
        let pool = Patience::new(Duration::from_secs(10)).keeps_whole(pool);
        let pool = pool.connect(&postgres.url()).await.unwrap();
        let first = backend(&pool).await;
        assert_eq!(backend(&pool).await, first, "it is used again");
        drop(pool.begin().await.unwrap());
        assert_eq!(backend(&pool).await, first, "what is undone in order does no harm");
        // As where `begin` is given up half-way: sqlx knows nothing of it.
        pool.acquire().await.unwrap().execute("begin").await.unwrap();
        assert_ne!(backend(&pool).await, first);
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_while_somebody_waited_in_vain_is_not_used_again() {
        let postgres = Postgres::start().unwrap();
        let patience = Patience::new(Duration::from_millis(500));
        let pool = patience.keeps_whole(PgPoolOptions::new().max_connections(1).test_before_acquire(false));
        let pool = pool.connect(&postgres.url()).await.unwrap();
        let first = backend(&pool).await;
        assert!(patience.with(std::future::pending::<Result<(), StoreError>>()).await.is_err());
        let second = backend(&pool).await;
        assert_ne!(second, first);
        assert_eq!(backend(&pool).await, second, "the new one is used again");
    }
}
