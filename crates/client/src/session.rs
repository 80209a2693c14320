//! One side of a session with the coordinator, as workers and nodes keep it up: full status out, orders in.
//!
//! Level-triggered: nothing here remembers what was said before, so lost or repeated messages do no harm. A coordinator
//! that is away or silent is left for the next one, where there are several, and looked for, for ever; what the peer does
//! meanwhile goes on.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status, Streaming};
use ursa_proto::{ApiError, ErrorCode, SESSION_LONGEST_WAIT, SESSION_SILENCE};

use crate::Client;

const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Until the coordinator has said how often.
const FIRST_INTERVAL: Duration = Duration::from_secs(2);

/// Who keeps a session: a worker or a node.
pub trait Peer: Send {
    /// Its full status.
    type Report: Send + 'static;
    /// Everything the coordinator wants of it.
    type Orders: Send + 'static;

    /// Opens the session's streams.
    fn open(
        &self,
        client: &Client,
        reports: ReceiverStream<Self::Report>,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Orders>>, Status>> + Send;

    /// Says everything as it is now.
    fn report(&mut self) -> Self::Report;

    /// Does as ordered, without waiting, and tells how often the coordinator wants to hear; zero is "as before".
    fn obey(&mut self, orders: Self::Orders) -> Duration;

    /// Resolves when there is something new to report. Cancelled and called again at will.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

/// Keeps `peer`'s session up until stopped.
///
/// # Errors
/// Only when the coordinator speaks another version of the protocol: waiting would not help.
pub async fn keep<P: Peer>(client: &Client, mut peer: P, stop: CancellationToken) -> Result<(), ApiError> {
    let mut wait = FIRST_WAIT;
    let mut complained = false;
    while !stop.is_cancelled() {
        let mut heard = false;
        let end = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            end = attend(client, &mut peer, &mut heard) => end,
        };
        if heard {
            (wait, complained) = (FIRST_WAIT, false);
        }
        match end {
            Err(error) if error.code == ErrorCode::ProtocolMismatch => return Err(error),
            Err(error) if !complained => {
                tracing::warn!(%error, coordinator = client.address(), "waiting for the coordinator");
                complained = true;
            }
            _ => {}
        }
        client.turn();
        stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        wait = (wait * 2).min(SESSION_LONGEST_WAIT);
    }
    Ok(())
}

/// One session, from the first report to the end of the stream. `heard` tells whether any order came.
async fn attend<P: Peer>(client: &Client, peer: &mut P, heard: &mut bool) -> Result<(), ApiError> {
    let (reports, outgoing) = mpsc::channel(4);
    send(&reports, peer.report())?;
    let opening = peer.open(client, ReceiverStream::new(outgoing));
    let mut incoming = tokio::time::timeout(SESSION_SILENCE, opening).await.map_err(|_| silent())??.into_inner();
    let mut interval = ticker(FIRST_INTERVAL);
    let mut last_heard = Instant::now();
    loop {
        tokio::select! {
            orders = incoming.message() => {
                let Some(orders) = orders? else { return Ok(()) };
                if !*heard {
                    tracing::info!(coordinator = client.address(), "attached to the coordinator");
                }
                *heard = true;
                last_heard = Instant::now();
                let wish = peer.obey(orders);
                if !wish.is_zero() && wish != interval.period() {
                    interval = ticker(wish);
                }
            }
            () = peer.changed() => send(&reports, peer.report())?,
            _ = interval.tick() => {
                // Every report is answered: a coordinator that answers none of three is as good as away.
                if last_heard.elapsed() > SESSION_SILENCE.max(interval.period() * 3) {
                    return Err(silent());
                }
                send(&reports, peer.report())?;
            }
        }
    }
}

/// A full channel is no loss: the next report says it all again.
fn send<R>(reports: &mpsc::Sender<R>, report: R) -> Result<(), ApiError> {
    match reports.try_send(report) {
        Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
        Err(mpsc::error::TrySendError::Closed(_)) => {
            Err(ApiError::new(ErrorCode::Unavailable, "the session with the coordinator broke"))
        }
    }
}

fn silent() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "the coordinator does not answer reports")
}

/// Ticks after each `period`, the first time one period from now.
fn ticker(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
