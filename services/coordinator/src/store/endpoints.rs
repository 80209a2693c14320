//! Endpoints: which model each shall serve.

use std::time::Duration;

use ursa_domain::Lease;
use ursa_proto::{ApiError, v1};

use super::fencing::{check, hold};
use super::tasks::succeed;
use super::{Store, StoreResult, Topic, Tx};

impl Store {
    /// Points an endpoint at a model that exists; makes the endpoint if need be. Repeating it changes nothing.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn deploy(&self, endpoint: &str, digest: &str) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        point(&mut tx, endpoint, digest).await?;
        tx.commit().await
    }

    /// The same for whoever holds the lease of a deploy attempt: without it, somebody may have pointed the endpoint elsewhere
    /// since. It cannot be taken back before the end of the transaction.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn deploy_under(&self, lease: &Lease, endpoint: &str, digest: &str) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        check(&mut tx, lease).await?;
        point(&mut tx, endpoint, digest).await?;
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

async fn point(tx: &mut Tx, endpoint: &str, digest: &str) -> StoreResult<()> {
    let changed = sqlx::query!(
        "insert into endpoints (name, model_digest) select $1, digest from models where digest = $2
        on conflict (name) do update
        set model_digest = $2, generation = endpoints.generation + 1, updated_at = now()
        where endpoints.model_digest <> $2",
        endpoint,
        digest,
    )
    .execute(&mut **tx)
    .await?;
    if changed.rows_affected() > 0 {
        tx.hint(Topic::Endpoints);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser as _;
    use ursa_cluster::{Coordinator, Postgres, Worker};
    use ursa_proto::ErrorCode;

    use super::*;
    use crate::config::Config;
    use crate::store::StoreError;

    /// Of models nothing counts here but their digests.
    const MODELS: &str = "
        set session_replication_role = replica;
        insert into models (
            digest, architecture, classes, error_rate, model_json, job_id, task_id, attempt, snapshot_id)
        select digest, 'resnet18', '[]', 0, '{}', gen_random_uuid(), gen_random_uuid(), 1, gen_random_uuid()
        from unnest(array['older', 'newer']) as m (digest)";

    /// A lease that is current, and the worker that has it.
    async fn leased(coordinator: &Coordinator) -> (Worker, v1::Lease) {
        let probe = v1::job_definition::Spec::Probe(v1::ProbeSpec { tasks: 1, ..v1::ProbeSpec::default() });
        let job = v1::JobDefinition { name: "probe".into(), spec: Some(probe), ..v1::JobDefinition::default() };
        let pipeline = Some(v1::PipelineSpec { name: "test".into(), jobs: vec![job], ..v1::PipelineSpec::default() });
        let request = v1::SubmitPipelineRequest { pipeline, ..v1::SubmitPipelineRequest::default() };
        coordinator.client.jobs().submit_pipeline(request).await.unwrap();
        let mut worker = Worker::attach(&coordinator.client, "worker", 1).await.unwrap();
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        (worker, lease)
    }

    #[tokio::test]
    async fn who_has_lost_the_lease_of_a_deploy_points_the_endpoint_nowhere() {
        let postgres = Postgres::start().unwrap();
        let url = postgres.url();
        let coordinator = Coordinator::start(&url).await.unwrap();
        postgres.ask(MODELS).await.unwrap();
        let config = Config::parse_from(["ursa-coordinator", "--database-url", &url, "--object-store", "/tmp"]);
        let store = Store::open(url.parse().unwrap(), &config, Arc::default()).await.unwrap();
        let (mut worker, held) = leased(&coordinator).await;
        let lease = Lease::try_from(&held).unwrap();
        store.deploy_under(&lease, "bears", "older").await.unwrap();
        assert_eq!(postgres.ask("select model_digest from endpoints").await.unwrap(), "older");

        worker.fail(&held, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
        store.deploy("bears", "newer").await.unwrap();
        let refused = store.deploy_under(&lease, "bears", "older").await.unwrap_err();
        assert!(matches!(&refused, StoreError::Api(error) if error.code == ErrorCode::LeaseLost), "{refused}");
        assert_eq!(postgres.ask("select model_digest from endpoints").await.unwrap(), "newer");
    }
}
