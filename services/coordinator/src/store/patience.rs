//! How long Postgres is waited for. One whose machine vanishes sends no answer and no error either, and a connection that waits
//! for an answer would wait for ever.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::StoreError;

/// As long as a statement takes at most, with all the locks it waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(Duration);

impl Patience {
    pub(super) fn new(longest: Duration) -> Self {
        Self(longest)
    }

    /// For what takes many statements and is begun again where it was left.
    pub(crate) fn long(self) -> Self {
        Self(self.0 * 10)
    }

    /// The time.
    pub(crate) fn longest(self) -> Duration {
        self.0
    }

    /// Does `work`, unless that takes too long: then it is dropped where it is, and that counts as an outage.
    pub(crate) async fn with<T, E: From<StoreError>>(self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        timeout(self.0, work).await.unwrap_or_else(|_| Err(StoreError::from(silence()).into()))
    }

    /// Has a pool close connections that come back and say nothing more: sqlx itself would ask them for ever.
    pub(super) fn with_silent_ones_closed(self, pool: PgPoolOptions) -> PgPoolOptions {
        pool.after_release(move |connection: &mut PgConnection, _| {
            Box::pin(async move {
                let answer = timeout(self.0, connection.ping()).await;
                answer.unwrap_or_else(|_| Err(silence())).map(|()| true)
            })
        })
    }
}

fn silence() -> sqlx::Error {
    sqlx::Error::Io(ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
