//! The session with the coordinator: the node's full status out, everything it shall serve in.
//!
//! Level-triggered: nothing here remembers what was said before, so lost or repeated messages do no harm. A coordinator
//! that is away is looked for, for ever; the node keeps serving meanwhile.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use ursa_client::Client;
use ursa_proto::v1::{NodeOrders, NodeReport};
use ursa_proto::{ApiError, ErrorCode, SESSION_PROTOCOL_VERSION};

use crate::catalog::Catalog;
use crate::keeper::Orders;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LAST_WAIT: Duration = Duration::from_secs(5);
/// Until the coordinator has said how often.
const FIRST_INTERVAL: Duration = Duration::from_secs(2);
/// Every report is answered; a coordinator that answers none for so long is as good as away.
const SILENCE: Duration = Duration::from_secs(20);

/// Who the node is; the same over reconnects, new with every start.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) node_id: uuid::Uuid,
    pub(crate) name: String,
    pub(crate) http_address: String,
    pub(crate) grpc_address: String,
}

/// One node's side of the session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) identity: Identity,
    pub(crate) catalog: watch::Receiver<Catalog>,
    pub(crate) orders: watch::Sender<Orders>,
}

impl Session {
    /// Keeps a session up until stopped.
    ///
    /// # Errors
    /// Only when the coordinator speaks another version of the protocol: waiting would not help.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), ApiError> {
        let mut wait = FIRST_WAIT;
        let mut complained = false;
        while !stop.is_cancelled() {
            let mut heard = false;
            let end = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                end = self.attend(&mut heard) => end,
            };
            if heard {
                (wait, complained) = (FIRST_WAIT, false);
            }
            match end {
                Err(error) if error.code == ErrorCode::ProtocolMismatch => return Err(error),
                Err(error) if !complained => {
                    tracing::warn!(%error, coordinator = self.client.address(), "waiting for the coordinator");
                    complained = true;
                }
                _ => {}
            }
            stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
        Ok(())
    }

    /// One session, from the first report to the end of the stream. `heard` tells whether any order came.
    async fn attend(&mut self, heard: &mut bool) -> Result<(), ApiError> {
        let (reports, outgoing) = mpsc::channel(4);
        self.report(&reports)?;
        let mut incoming = self.client.nodes().session(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut interval = ticker(FIRST_INTERVAL);
        let mut last_heard = Instant::now();
        loop {
            tokio::select! {
                orders = next(&mut incoming) => {
                    let Some(orders) = orders? else { return Ok(()) };
                    if !*heard {
                        tracing::info!(coordinator = self.client.address(), "attached to the coordinator");
                    }
                    *heard = true;
                    last_heard = Instant::now();
                    interval = self.obey(orders, interval);
                }
                changed = self.catalog.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.report(&reports)?;
                }
                _ = interval.tick() => {
                    if last_heard.elapsed() > SILENCE {
                        return Err(ApiError::new(ErrorCode::Unavailable, "the coordinator does not answer reports"));
                    }
                    self.report(&reports)?;
                }
            }
        }
    }

    /// Passes the orders on and follows the coordinator's wish for reports.
    fn obey(&self, orders: NodeOrders, interval: tokio::time::Interval) -> tokio::time::Interval {
        self.orders.send_if_modified(|last| {
            let changed = last.as_ref() != Some(&orders.endpoints);
            *last = Some(orders.endpoints);
            changed
        });
        let wish = Duration::from_millis(u64::from(orders.report_interval_ms));
        if wish.is_zero() || wish == interval.period() { interval } else { ticker(wish) }
    }

    /// Says everything. A full channel is no loss: the next report says it all again.
    fn report(&mut self, reports: &mpsc::Sender<NodeReport>) -> Result<(), ApiError> {
        let identity = &self.identity;
        let report = NodeReport {
            node_id: identity.node_id.to_string(),
            name: identity.name.clone(),
            protocol_version: SESSION_PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            http_address: identity.http_address.clone(),
            grpc_address: identity.grpc_address.clone(),
            endpoints: self.catalog.borrow_and_update().statuses(),
        };
        match reports.try_send(report) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Err(ApiError::new(ErrorCode::Unavailable, "the session with the coordinator broke"))
            }
        }
    }
}

async fn next(incoming: &mut Streaming<NodeOrders>) -> Result<Option<NodeOrders>, ApiError> {
    Ok(incoming.message().await?)
}

/// Ticks after each `period`, the first time one period from now.
fn ticker(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
