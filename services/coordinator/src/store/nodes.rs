//! Inference nodes as they last reported, and what each makes of the endpoints.

use std::time::Duration;

use ursa_proto::v1;
use uuid::Uuid;

use super::{Store, StoreResult, Topic, Tx};

impl Store {
    /// Notes that a node is there and what it serves.
    pub(crate) async fn see_node(&self, id: Uuid, report: &v1::NodeReport) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "insert into nodes (id, name, version, http_address, grpc_address) values ($1, $2, $3, $4, $5)
            on conflict (id) do update set name = $2, version = $3, http_address = $4, grpc_address = $5, last_seen_at = now()",
            id,
            report.name,
            report.version,
            report.http_address,
            report.grpc_address,
        )
        .execute(&mut *tx)
        .await?;
        let mut changed = forget_unlisted(&mut tx, id, &report.endpoints).await?;
        for status in &report.endpoints {
            changed |= see_assignment(&mut tx, id, status).await?;
        }
        if changed {
            tx.hint(Topic::Tasks);
        }
        tx.commit().await
    }

    /// Nodes seen in the last day; one that did not report for `patience` is offline.
    pub(crate) async fn nodes(&self, patience: Duration) -> StoreResult<Vec<v1::Node>> {
        let rows = sqlx::query!(
            r#"select id, name, version, http_address, grpc_address, last_seen_at,
                last_seen_at > now() - make_interval(secs => $1) as "online!"
            from nodes where last_seen_at > now() - interval '1 day' order by name, id"#,
            patience.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        let assignments = self.assignments(patience).await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::Node {
                endpoints: assignments
                    .iter()
                    .filter(|(node, _, _)| *node == row.id)
                    .map(|(_, _, s)| s.clone())
                    .collect(),
                id: row.id.to_string(),
                name: row.name,
                state: if row.online { "online" } else { "offline" }.into(),
                version: row.version,
                http_address: row.http_address,
                grpc_address: row.grpc_address,
                last_seen_at: Some(ursa_proto::timestamp(row.last_seen_at)),
            })
            .collect())
    }

    /// What every node that is online makes of every endpoint: (node, node as shown, status).
    async fn assignments(&self, patience: Duration) -> StoreResult<Vec<(Uuid, v1::Assignment, v1::EndpointStatus)>> {
        let rows = sqlx::query!(
            "select n.id, n.name, n.http_address, n.grpc_address, a.endpoint, a.model_digest, a.serving_digest, a.state, a.error
            from assignments a join nodes n on n.id = a.node_id
            where n.last_seen_at > now() - make_interval(secs => $1) order by n.name, n.id, a.endpoint",
            patience.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let assignment = v1::Assignment {
                    node_id: row.id.to_string(),
                    node_name: row.name,
                    http_address: row.http_address,
                    grpc_address: row.grpc_address,
                    serving_digest: row.serving_digest.clone(),
                    state: row.state.clone(),
                    error: row.error.clone(),
                };
                let status = v1::EndpointStatus {
                    endpoint: row.endpoint,
                    model_digest: row.model_digest,
                    serving_digest: row.serving_digest,
                    state: row.state,
                    error: row.error,
                };
                (row.id, assignment, status)
            })
            .collect())
    }

    /// What each node that is online makes of one endpoint. A node that has not heard of it, or of its present model, is
    /// `pending`.
    pub(super) async fn assignments_of(
        &self,
        endpoint: &str,
        digest: &str,
        patience: Duration,
    ) -> StoreResult<Vec<v1::Assignment>> {
        let mut known = self.assignments(patience).await?;
        known.retain(|(_, _, status)| status.endpoint == endpoint);
        let nodes = self.nodes(patience).await?;
        Ok(nodes
            .into_iter()
            .filter(|node| node.state == "online")
            .map(|node| {
                let found = known.iter().find(|(_, assignment, _)| assignment.node_id == node.id);
                let mut assignment = found.map_or_else(|| pending(&node), |(_, assignment, _)| assignment.clone());
                if found.is_some_and(|(_, _, status)| status.model_digest != digest) {
                    assignment.state = "pending".into();
                    assignment.error = String::new();
                }
                assignment
            })
            .collect())
    }
}

fn pending(node: &v1::Node) -> v1::Assignment {
    v1::Assignment {
        node_id: node.id.clone(),
        node_name: node.name.clone(),
        http_address: node.http_address.clone(),
        grpc_address: node.grpc_address.clone(),
        serving_digest: String::new(),
        state: "pending".into(),
        error: String::new(),
    }
}

async fn forget_unlisted(tx: &mut Tx, node: Uuid, listed: &[v1::EndpointStatus]) -> StoreResult<bool> {
    let names: Vec<String> = listed.iter().map(|status| status.endpoint.clone()).collect();
    let result = sqlx::query!("delete from assignments where node_id = $1 and endpoint <> all ($2)", node, &names)
        .execute(&mut **tx)
        .await?;
    Ok(result.rows_affected() > 0)
}

async fn see_assignment(tx: &mut Tx, node: Uuid, status: &v1::EndpointStatus) -> StoreResult<bool> {
    let result = sqlx::query!(
        "insert into assignments (node_id, endpoint, model_digest, serving_digest, state, error) values ($1, $2, $3, $4, $5, $6)
        on conflict (node_id, endpoint) do update
        set model_digest = $3, serving_digest = $4, state = $5, error = $6, updated_at = now()
        where (assignments.model_digest, assignments.serving_digest, assignments.state, assignments.error) <> ($3, $4, $5, $6)",
        node,
        status.endpoint,
        status.model_digest,
        status.serving_digest,
        status.state,
        status.error,
    )
    .execute(&mut **tx)
    .await?;
    Ok(result.rows_affected() > 0)
}
