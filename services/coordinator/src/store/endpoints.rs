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

    /// One endpoint, with what the nodes that reported within `patience` make of it.
    pub(crate) async fn endpoint(&self, name: &str, patience: Duration) -> StoreResult<v1::Endpoint> {
        let endpoint = self.select_endpoints(Some(name), None, 1, patience).await?.pop();
        Ok(endpoint.ok_or_else(|| ApiError::not_found("endpoint", name))?)
    }

    /// Endpoints with names after `after`, in their order, with what the nodes that reported within `patience` make of them.
    pub(crate) async fn endpoints(
        &self,
        after: Option<&str>,
        limit: i64,
        patience: Duration,
    ) -> StoreResult<Vec<v1::Endpoint>> {
        self.select_endpoints(None, after, limit, patience).await
    }

    async fn select_endpoints(
        &self,
        name: Option<&str>,
        after: Option<&str>,
        limit: i64,
        patience: Duration,
    ) -> StoreResult<Vec<v1::Endpoint>> {
        let rows = sqlx::query!(
            "select name, model_digest, generation, updated_at from endpoints
            where ($1::text is null or name = $1) and ($2::text is null or name > $2) order by name limit $3",
            name,
            after,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        let (names, digests): (Vec<_>, Vec<_>) =
            rows.iter().map(|row| (row.name.clone(), row.model_digest.clone())).unzip();
        let mut assignments = self.assignments(&names, &digests, patience).await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::Endpoint {
                assignments: assignments.remove(&row.name).unwrap_or_default(),
                name: row.name,
                model_digest: row.model_digest,
                generation: row.generation as u64,
                updated_at: Some(ursa_proto::timestamp(row.updated_at)),
            })
            .collect())
    }
}
