//! What attempts uploaded that do not count: whose objects are to be looked at, and which of them rows name.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ursa_domain::Lease;
use uuid::Uuid;

use super::{Store, StoreResult, Tx, ensure_rows};

/// An attempt that has ended without counting.
#[derive(Debug)]
pub(crate) struct AttemptToClean {
    /// The task.
    pub task_id: Uuid,
    /// The attempt.
    pub attempt: i32,
    /// When its worker was last known to be at it.
    pub since: DateTime<Utc>,
    /// Whether nothing can come after this look.
    pub is_last: bool,
}

/// Has the objects of an attempt looked at that ends without counting.
pub(super) async fn have_cleaned(tx: &mut Tx, lease: &Lease) -> StoreResult<()> {
    let result = sqlx::query!(
        "insert into attempts_to_clean (task_id, attempt) values ($1, $2)",
        lease.task_id,
        lease.attempt as i32,
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("attempt to clean", &result, 1)
}

impl Store {
    /// Attempts to look at, the oldest first: those that nobody has looked at yet, and for the last time those whose workers
    /// were last known to be at them longer than `grace` ago.
    pub(crate) async fn attempts_to_clean(&self, grace: Duration, limit: i64) -> StoreResult<Vec<AttemptToClean>> {
        let due = sqlx::query_as!(
            AttemptToClean,
            r#"select task_id, attempt, since, since < now() - make_interval(secs => $1) as "is_last!"
            from attempts_to_clean
            where not looked or since < now() - make_interval(secs => $1)
            order by since limit $2"#,
            grace.as_secs_f64(),
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(due)
    }

    /// Those of `uploads`, keys of objects of an attempt and digests of packages, that rows name.
    pub(crate) async fn named(&self, attempt: &AttemptToClean, uploads: &[String]) -> StoreResult<HashSet<String>> {
        let named = sqlx::query_scalar!(
            r#"select key as "name!" from checkpoints where task_id = $1 and attempt = $2 and key = any ($3)
            union all select key from shards where key = any ($3)
            union all select predictions_key from evaluations where predictions_key = any ($3)
            union all select overlay_key from heatmaps where overlay_key = any ($3)
            union all select digest from models where digest = any ($3)"#,
            attempt.task_id,
            attempt.attempt,
            uploads,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(named.into_iter().collect())
    }

    /// Notes that an attempt was looked at and nothing is left that no row names. Of one that was lost this is said after the
    /// last look: its worker may still be uploading. One that was fenced meanwhile is looked at again.
    pub(crate) async fn note_cleaned(&self, attempt: &AttemptToClean) -> StoreResult<()> {
        let AttemptToClean { task_id, attempt, since, is_last } = *attempt;
        let mut tx = self.begin().await?;
        sqlx::query!(
            "update attempts set cleaned_at = now()
            where task_id = $1 and number = $2 and cleaned_at is null and ($3 or state <> 'lost')
                and (fenced_at is null or fenced_at <= $4)",
            task_id,
            attempt,
            is_last,
            since,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "with over as (
                delete from attempts_to_clean where task_id = $1 and attempt = $2 and since = $3 and $4
            )
            update attempts_to_clean set looked = true where task_id = $1 and attempt = $2 and since = $3 and not $4",
            task_id,
            attempt,
            since,
            is_last,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}
