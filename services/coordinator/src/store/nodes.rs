//! Inference nodes as they last reported, and what each makes of the endpoints.

use std::collections::HashMap;
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

    /// Nodes seen in the last day after a place in their order, which is by name and id. One that did not report for
    /// `patience` is offline.
    pub(crate) async fn nodes(
        &self,
        after: Option<&(String, Uuid)>,
        limit: i64,
        patience: Duration,
    ) -> StoreResult<Vec<v1::Node>> {
        let rows = sqlx::query!(
            r#"select id, name, version, http_address, grpc_address, last_seen_at,
                last_seen_at > now() - make_interval(secs => $1) as "online!"
            from nodes where last_seen_at > now() - interval '1 day'
                and ($2::text is null or (name, id) > ($2, $3::uuid))
            order by name, id limit $4"#,
            patience.as_secs_f64(),
            after.map(|(name, _)| name.as_str()),
            after.map(|(_, id)| *id),
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        let online: Vec<Uuid> = rows.iter().filter(|row| row.online).map(|row| row.id).collect();
        let mut statuses = self.statuses(&online).await?;
        Ok(rows
            .into_iter()
            .map(|row| v1::Node {
                endpoints: statuses.remove(&row.id).unwrap_or_default(),
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

    /// What some nodes said of the endpoints they know, in the order of these.
    async fn statuses(&self, nodes: &[Uuid]) -> StoreResult<HashMap<Uuid, Vec<v1::EndpointStatus>>> {
        let rows = sqlx::query!(
            "select node_id, endpoint, model_digest, serving_digest, state, error from assignments
            where node_id = any ($1) order by node_id, endpoint",
            nodes,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut statuses: HashMap<Uuid, Vec<v1::EndpointStatus>> = HashMap::new();
        for row in rows {
            statuses.entry(row.node_id).or_default().push(v1::EndpointStatus {
                endpoint: row.endpoint,
                model_digest: row.model_digest,
                serving_digest: row.serving_digest,
                state: row.state,
                error: row.error,
            });
        }
        Ok(statuses)
    }

    /// What each node that is online makes of some endpoints, which shall serve the models of `digests`, side by side. A node
    /// that has not heard of an endpoint, or of its present model, is `pending`.
    pub(super) async fn assignments(
        &self,
        endpoints: &[String],
        digests: &[String],
        patience: Duration,
    ) -> StoreResult<HashMap<String, Vec<v1::Assignment>>> {
        let rows = sqlx::query!(
            r#"select e.name as "endpoint!", n.id as "id!", n.name as "name!", n.http_address as "http_address!",
                n.grpc_address as "grpc_address!",
                coalesce(a.serving_digest, '') as "serving_digest!",
                case when a.model_digest = e.digest then a.state else 'pending' end as "state!",
                case when a.model_digest = e.digest then a.error else '' end as "error!"
            from unnest($1::text[], $2::text[]) as e (name, digest)
            cross join nodes n
            left join assignments a on a.node_id = n.id and a.endpoint = e.name
            where n.last_seen_at > now() - make_interval(secs => $3)
            order by n.name, n.id"#,
            endpoints,
            digests,
            patience.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        let mut assignments: HashMap<String, Vec<v1::Assignment>> = HashMap::new();
        for row in rows {
            assignments.entry(row.endpoint).or_default().push(v1::Assignment {
                node_id: row.id.to_string(),
                node_name: row.name,
                http_address: row.http_address,
                grpc_address: row.grpc_address,
                serving_digest: row.serving_digest,
                state: row.state,
                error: row.error,
            });
        }
        Ok(assignments)
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
