//! Endpoints: which model each shall serve.

use std::time::Duration;

use ursa_domain::Lease;
use ursa_proto::{ApiError, v1};

use super::fencing::hold;
use super::tasks::succeed;
use super::{Store, StoreResult, Topic};

impl Store {
    /// Points an endpoint at a model that exists; makes the endpoint if need be. Repeating it changes nothing.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn deploy(&self, endpoint: &str, digest: &str) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let changed = sqlx::query!(
            "insert into endpoints (name, model_digest) select $1, digest from models where digest = $2
            on conflict (name) do update
            set model_digest = $2, generation = endpoints.generation + 1, updated_at = now()
            where endpoints.model_digest <> $2",
            endpoint,
            digest,
        )
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() > 0 {
            tx.hint(Topic::Endpoints);
        }
        tx.commit().await
    }

    /// Ends a deploy attempt well.
    pub(crate) async fn complete_deploy(&self, lease: &Lease, message: String) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let held = hold(&mut tx, lease).await?;
        succeed(&mut tx, &held, message).await?;
        tx.commit().await
    }

    /// What every node shall serve.
    pub(crate) async fn endpoint_orders(&self) -> StoreResult<Vec<v1::EndpointOrder>> {
        let rows = sqlx::query!("select name, model_digest, generation from endpoints order by name")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::EndpointOrder {
                endpoint: row.name,
                model_digest: row.model_digest,
                generation: row.generation as u64,
            })
            .collect())
    }

    /// All endpoints, or the one called `name`, with what the nodes make of them.
    pub(crate) async fn endpoints(&self, name: Option<&str>, patience: Duration) -> StoreResult<Vec<v1::Endpoint>> {
        let rows = sqlx::query!(
            "select name, model_digest, generation, updated_at from endpoints where $1::text is null or name = $1 order by name",
            name,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut endpoints = Vec::with_capacity(rows.len());
        for row in rows {
            endpoints.push(v1::Endpoint {
                assignments: self.assignments_of(&row.name, &row.model_digest, patience).await?,
                name: row.name,
                model_digest: row.model_digest,
                generation: row.generation as u64,
                updated_at: Some(ursa_proto::timestamp(row.updated_at)),
            });
        }
        Ok(endpoints)
    }

    /// One endpoint.
    pub(crate) async fn endpoint(&self, name: &str, patience: Duration) -> StoreResult<v1::Endpoint> {
        let endpoint = self.endpoints(Some(name), patience).await?.pop();
        Ok(endpoint.ok_or_else(|| ApiError::not_found("endpoint", name))?)
    }
}
