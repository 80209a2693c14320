//! The node's side of its session: what it serves goes out, everything it shall serve comes in.

use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};
use ursa_client::Client;
use ursa_client::session::Peer;
use ursa_proto::SESSION_PROTOCOL_VERSION;
use ursa_proto::v1::{NodeOrders, NodeReport};

use crate::catalog::Catalog;
use crate::keeper::Orders;

/// Who the node is; the same over reconnects, new with every start.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) node_id: uuid::Uuid,
    pub(crate) name: String,
    pub(crate) http_address: String,
    pub(crate) grpc_address: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) identity: Identity,
    pub(crate) catalog: watch::Receiver<Catalog>,
    pub(crate) orders: watch::Sender<Orders>,
}

impl Peer for Session {
    type Report = NodeReport;
    type Orders = NodeOrders;

    async fn open(
        &self,
        client: &Client,
        reports: ReceiverStream<NodeReport>,
    ) -> Result<Response<Streaming<NodeOrders>>, Status> {
        client.nodes().session(reports).await
    }

    fn report(&mut self) -> NodeReport {
        let identity = &self.identity;
        NodeReport {
            node_id: identity.node_id.to_string(),
            name: identity.name.clone(),
            protocol_version: SESSION_PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            http_address: identity.http_address.clone(),
            grpc_address: identity.grpc_address.clone(),
            endpoints: self.catalog.borrow_and_update().statuses(),
        }
    }

    fn obey(&mut self, orders: NodeOrders) -> Duration {
        self.orders.send_if_modified(|last| {
            let changed = last.as_ref() != Some(&orders.endpoints);
            *last = Some(orders.endpoints);
            changed
        });
        Duration::from_millis(u64::from(orders.report_interval_ms))
    }

    async fn changed(&mut self) {
        if self.catalog.changed().await.is_err() {
            // Nothing will change any more: the node is stopping.
            std::future::pending::<()>().await;
        }
    }
}
