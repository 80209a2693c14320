//! Connections that are shared, and the patience with which each statement waits for its answer.

use std::ops::Deref;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgPool, Postgres, SqlStr};

use super::patience::Patience;

/// A pool whose statements are given up when an answer does not come. Those of a transaction that was begun on it are not:
/// whoever begins one is patient with the whole.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pool: PgPool,
    patience: Patience,
}

impl Pool {
    pub(super) fn new(pool: PgPool, patience: Patience) -> Self {
        Self { pool, patience }
    }
}

impl Deref for Pool {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.pool
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let rows = self.pool.fetch_many(query);
        let next = move |rows: Option<BoxStream<'e, _>>| async move {
            let mut rows = rows?;
            let row = self.patience.answer(rows.next()).await.unwrap_or_else(|silent| Some(Err(silent)))?;
            let rest = row.is_ok().then_some(rows);
            Some((row, rest))
        };
        stream::unfold(Some(rows), next).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move { self.patience.answer(self.pool.fetch_optional(query)).await? }.boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        async move { self.patience.answer(self.pool.prepare_with(sql, parameters)).await? }.boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'p: 'e,
    {
        async move { self.patience.answer(self.pool.describe(sql)).await? }.boxed()
    }
}
