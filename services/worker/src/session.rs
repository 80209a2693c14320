//! The worker's side of its session: the attempts in work go out, orders to start and stop come in.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};
use ursa_client::Client;
use ursa_client::session::Peer;
use ursa_proto::{SESSION_PROTOCOL_VERSION, v1};
use uuid::Uuid;

use crate::floor::Floor;
use crate::gpus::Gpus;

/// Who the worker is and what it offers; the same over reconnects, new with every start.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) worker_id: Uuid,
    pub(crate) name: String,
    pub(crate) code_version: String,
    pub(crate) slots: u32,
    pub(crate) kinds: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) gpus: Gpus,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    identity: Identity,
    floor: Floor,
}

impl Session {
    pub(crate) fn new(identity: Identity, floor: Floor) -> Self {
        Self { identity, floor }
    }
}

impl Peer for Session {
    type Report = v1::WorkerReport;
    type Orders = v1::WorkerOrders;

    async fn open(
        &self,
        client: &Client,
        reports: ReceiverStream<v1::WorkerReport>,
    ) -> Result<Response<Streaming<v1::WorkerOrders>>, Status> {
        client.workers().session(reports).await
    }

    fn report(&mut self) -> v1::WorkerReport {
        let identity = &self.identity;
        let floor = self.floor.report();
        v1::WorkerReport {
            worker_id: identity.worker_id.to_string(),
            name: identity.name.clone(),
            protocol_version: SESSION_PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: identity.slots,
            kinds: identity.kinds.clone(),
            gpus: identity.gpus.list(),
            running: floor.running,
            draining: floor.takes_no_more,
            labels: identity.labels.clone(),
            code_version: identity.code_version.clone(),
        }
    }

    fn obey(&mut self, orders: v1::WorkerOrders) -> Duration {
        self.floor.drain(orders.drain);
        for stop in &orders.stop {
            if let Some(lease) = &stop.lease {
                self.floor.stop(lease, stop.reason().into());
            }
        }
        for order in orders.start {
            self.floor.start(order);
        }
        Duration::from_millis(u64::from(orders.report_interval_ms))
    }

    async fn changed(&mut self) {
        self.floor.news().due().await;
    }
}
