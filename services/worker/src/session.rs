//! The worker's side of its session: the attempts in work go out, orders to start and stop come in.

use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};
use ursa_client::Client;
use ursa_client::session::Peer;
use ursa_domain::JobKind;
use ursa_proto::{SESSION_PROTOCOL_VERSION, v1};
use uuid::Uuid;

use crate::error::Stop;
use crate::floor::Floor;

/// Who the worker is and what it offers; the same over reconnects, new with every start.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) worker_id: Uuid,
    pub(crate) name: String,
    pub(crate) slots: u32,
    pub(crate) kinds: Vec<String>,
    pub(crate) gpus: Vec<v1::Gpu>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    identity: Identity,
    floor: Floor,
    changes: watch::Receiver<u64>,
}

impl Session {
    pub(crate) fn new(identity: Identity, floor: Floor) -> Self {
        Self { identity, changes: floor.changes(), floor }
    }

    /// One training run at a time, so that the next one goes to a worker that can begin it.
    fn kinds(&self, is_training: bool) -> Vec<String> {
        let train = JobKind::Train.as_str();
        self.identity.kinds.iter().filter(|kind| !is_training || *kind != train).cloned().collect()
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
        self.changes.mark_unchanged();
        let identity = &self.identity;
        let floor = self.floor.report();
        let kinds = self.kinds(floor.is_training);
        v1::WorkerReport {
            worker_id: identity.worker_id.to_string(),
            name: identity.name.clone(),
            protocol_version: SESSION_PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: identity.slots,
            // No kinds would mean all of them.
            draining: floor.is_closing || kinds.is_empty(),
            kinds,
            gpus: identity.gpus.clone(),
            running: floor.running,
        }
    }

    fn obey(&mut self, orders: v1::WorkerOrders) -> Duration {
        for stop in &orders.stop {
            let reason = match stop.reason() {
                v1::StopReason::Cancelled => Stop::Cancelled,
                v1::StopReason::LeaseLost | v1::StopReason::Unspecified => Stop::LeaseLost,
            };
            if let Some(lease) = &stop.lease {
                self.floor.stop(lease, reason);
            }
        }
        for order in orders.start {
            self.floor.start(order);
        }
        Duration::from_millis(u64::from(orders.report_interval_ms))
    }

    async fn changed(&mut self) {
        // It cannot fail: the floor is ours.
        let _ = self.changes.changed().await;
    }
}
