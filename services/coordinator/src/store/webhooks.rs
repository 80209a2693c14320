//! Webhooks and what is sent to them. Deliveries are written with their events (`record_events.sql`).

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ursa_proto::{ApiError, timestamp, v1};
use uuid::Uuid;

use super::{Store, StoreResult, Topic};

/// A webhook to make.
pub(crate) struct NewWebhook<'a> {
    /// Where to.
    pub url: &'a str,
    /// What deliveries are signed with.
    pub secret: &'a str,
    /// Whose events; `None` is everybody's.
    pub project: Option<&'a str>,
    /// Beginnings of kinds of event.
    pub kinds: &'a [String],
}

/// A delivery that is ours to send until `held_until`. Whoever has it then may send it again.
pub(crate) struct ClaimedDelivery {
    /// Its id.
    pub id: i64,
    /// Its webhook.
    pub webhook_id: Uuid,
    /// Which try this is, from 1.
    pub attempts: i32,
    /// Tells this claim from any other.
    pub held_until: DateTime<Utc>,
    /// What to send.
    pub body: String,
    /// Where to.
    pub url: String,
    /// What to sign it with.
    pub secret: String,
    /// The database's time.
    pub at: DateTime<Utc>,
}

struct DeliveryRow {
    id: i64,
    webhook_id: Uuid,
    event_id: i64,
    kind: String,
    state: String,
    attempts: i32,
    http_status: i32,
    error: String,
    next_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
}

impl From<DeliveryRow> for v1::Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: row.id,
            webhook_id: row.webhook_id.to_string(),
            event_id: row.event_id,
            kind: row.kind,
            next_at: (row.state == "pending").then(|| timestamp(row.next_at)),
            state: row.state,
            attempts: row.attempts as u32,
            http_status: row.http_status as u32,
            error: row.error,
            delivered_at: row.delivered_at.map(timestamp),
        }
    }
}

impl Store {
    /// Makes a webhook.
    pub(crate) async fn create_webhook(&self, new: &NewWebhook<'_>) -> StoreResult<v1::Webhook> {
        let id = Uuid::now_v7();
        let created = sqlx::query_scalar!(
            "insert into webhooks (id, url, secret, project, kinds) select $1, $2, $3, $4::text, $5
            where $4::text is null or exists (select from projects where name = $4) returning created_at",
            id,
            new.url,
            new.secret,
            new.project,
            new.kinds,
        )
        .fetch_optional(&self.pool)
        .await?;
        let project = new.project.unwrap_or_default().to_owned();
        let created_at = created.ok_or_else(|| ApiError::not_found("project", &project))?;
        Ok(webhook(id, new.url.to_owned(), Some(project), new.kinds.to_vec(), created_at))
    }

    /// One webhook.
    pub(crate) async fn webhook(&self, id: Uuid) -> StoreResult<v1::Webhook> {
        let webhook = self.select_webhooks(Some(id), None, 1).await?.pop();
        Ok(webhook.ok_or_else(|| ApiError::not_found("webhook", id))?)
    }

    /// Webhooks made after the one with the id `after`, oldest first.
    pub(crate) async fn webhooks(&self, after: Option<Uuid>, limit: i64) -> StoreResult<Vec<v1::Webhook>> {
        self.select_webhooks(None, after, limit).await
    }

    async fn select_webhooks(
        &self,
        id: Option<Uuid>,
        after: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Webhook>> {
        let rows = sqlx::query!(
            "select id, url, project, kinds, created_at from webhooks
            where ($1::uuid is null or id = $1) and ($2::uuid is null or id > $2) order by id limit $3",
            id,
            after,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        Ok(rows.into_iter().map(|row| webhook(row.id, row.url, row.project, row.kinds, row.created_at)).collect())
    }

    /// Forgets a webhook and its deliveries. Those of events that are being recorded meanwhile are left to
    /// [`Store::tidy_deliveries`]; nobody sends them.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn delete_webhook(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let result = sqlx::query!("delete from webhooks where id = $1", id).execute(&mut *tx).await?;
        if result.rows_affected() == 0 {
            return Err(ApiError::not_found("webhook", id).into());
        }
        sqlx::query!("delete from deliveries where webhook_id = $1", id).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// Deliveries of a webhook before the one with the id `before`, newest first.
    pub(crate) async fn deliveries(
        &self,
        webhook_id: Uuid,
        before: Option<i64>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Delivery>> {
        let exists = sqlx::query_scalar!(r#"select exists (select from webhooks where id = $1) as "e!""#, webhook_id)
            .fetch_one(&self.pool)
            .await?;
        if !exists {
            return Err(ApiError::not_found("webhook", webhook_id).into());
        }
        let rows = sqlx::query_as!(
            DeliveryRow,
            "select id, webhook_id, event_id, kind, state, attempts, http_status, error, next_at, delivered_at
            from deliveries where webhook_id = $1 and ($2::bigint is null or id < $2) order by id desc limit $3",
            webhook_id,
            before,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        Ok(rows.into_iter().map(v1::Delivery::from).collect())
    }

    /// Has a delivery sent again, as if for the first time.
    pub(crate) async fn redeliver(&self, id: i64) -> StoreResult<v1::Delivery> {
        let mut tx = self.begin().await?;
        let row = sqlx::query_as!(
            DeliveryRow,
            "update deliveries d set state = 'pending', attempts = 0, next_at = now(), delivered_at = null,
                give_up_at = now() + interval '1 day'
            from webhooks w where d.id = $1 and w.id = d.webhook_id
            returning d.id, d.webhook_id, d.event_id, d.kind, d.state, d.attempts, d.http_status, d.error, d.next_at,
                d.delivered_at",
            id,
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| ApiError::not_found("delivery", id))?;
        tx.hint(Topic::Deliveries);
        tx.commit().await?;
        Ok(row.into())
    }

    /// Takes at most `most` deliveries that are due, so that no webhook has more than `per_webhook` under way here, of
    /// which `under_way` counts those that are. They are not given to anybody else for `hold`.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn claim_deliveries(
        &self,
        most: i64,
        per_webhook: i64,
        under_way: &HashMap<Uuid, i64>,
        hold: Duration,
    ) -> StoreResult<Vec<ClaimedDelivery>> {
        let (webhooks, counts): (Vec<_>, Vec<_>) = under_way.iter().map(|(webhook, count)| (*webhook, *count)).unzip();
        let claimed = sqlx::query_file_as!(
            ClaimedDelivery,
            "src/store/sql/claim_deliveries.sql",
            most,
            per_webhook,
            &webhooks,
            &counts,
            hold.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(claimed)
    }

    /// Notes that a delivery has arrived; nothing when somebody else has it by now.
    pub(crate) async fn note_delivered(&self, delivery: &ClaimedDelivery, http_status: u16) -> StoreResult<()> {
        sqlx::query!(
            "update deliveries set state = 'delivered', http_status = $3, error = '', delivered_at = now()
            where id = $1 and next_at = $2 and state = 'pending'",
            delivery.id,
            delivery.held_until,
            i32::from(http_status),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that a delivery has not arrived: it is tried again after `wait`, unless that would be too late. Nothing when
    /// somebody else has it by now.
    pub(crate) async fn note_undelivered(
        &self,
        delivery: &ClaimedDelivery,
        http_status: u16,
        error: &str,
        wait: Duration,
    ) -> StoreResult<()> {
        sqlx::query!(
            "update deliveries set http_status = $3, error = $4, next_at = now() + make_interval(secs => $5),
                state = case when now() + make_interval(secs => $5) < give_up_at then 'pending' else 'failed' end
            where id = $1 and next_at = $2 and state = 'pending'",
            delivery.id,
            delivery.held_until,
            i32::from(http_status),
            error,
            wait.as_secs_f64(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets deliveries whose webhooks went while their events were recorded; returns how many.
    pub(crate) async fn tidy_deliveries(&self) -> StoreResult<u64> {
        let result = sqlx::query!(
            "delete from deliveries d
            where d.state = 'pending' and not exists (select from webhooks w where w.id = d.webhook_id)",
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected())
    }
}

fn webhook(
    id: Uuid,
    url: String,
    project: Option<String>,
    kinds: Vec<String>,
    created_at: DateTime<Utc>,
) -> v1::Webhook {
    let created_at = Some(timestamp(created_at));
    v1::Webhook { id: id.to_string(), url, project: project.unwrap_or_default(), kinds, created_at }
}
