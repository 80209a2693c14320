//! Duties: what only one coordinator at a time shall do. Held by a lease like a worker's: a holder that falls silent, or
//! is stopped, loses it within seconds.

use std::time::Duration;

use uuid::Uuid;

use super::{Store, StoreResult};

impl Store {
    /// Takes or keeps a duty for `ttl`; false while another coordinator has it.
    pub(crate) async fn hold_duty(&self, name: &str, holder: Uuid, ttl: Duration) -> StoreResult<bool> {
        let held = sqlx::query_scalar!(
            "insert into duties (name, holder, expires_at) values ($1, $2, now() + make_interval(secs => $3))
            on conflict (name) do update set holder = $2, expires_at = now() + make_interval(secs => $3)
            where duties.holder = $2 or duties.expires_at < now()
            returning name",
            name,
            holder,
            ttl.as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(held.is_some())
    }

    /// Gives up a duty, so that whoever comes next need not wait until it runs out.
    pub(crate) async fn leave_duty(&self, name: &str, holder: Uuid) -> StoreResult<()> {
        sqlx::query!("delete from duties where name = $1 and holder = $2", name, holder).execute(&self.pool).await?;
        Ok(())
    }
}
