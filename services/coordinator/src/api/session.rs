//! What the sessions of workers and nodes have in common: reports come in, orders go out. A wake-up is answered from the
//! last report, but is no sign of life: the peer may have died since, and its stream not know it yet.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// The orders of a session, as tonic streams them.
pub(super) type Orders<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Why orders are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    /// The peer reported.
    Report,
    /// There may be news for a peer that last reported so long ago.
    WakeUp {
        /// Since its last report came in.
        silent_for: Duration,
    },
}

/// Answers every report, and every wake-up after the first one, by `answer`; ends with the reports or the first refusal.
pub(super) fn serve<R, O, F, Fut>(mut reports: Streaming<R>, mut wake: watch::Receiver<u64>, answer: F) -> Orders<O>
where
    R: Clone + Send + 'static,
    O: Send + 'static,
    F: Fn(R, Prompt) -> Fut + Send + 'static,
    Fut: Future<Output = Result<O, Status>> + Send,
{
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut last: Option<(R, Instant)> = None;
        loop {
            let prompt = tokio::select! {
                report = reports.message() => match report {
                    Ok(Some(report)) => { last = Some((report, Instant::now())); Prompt::Report }
                    Ok(None) | Err(_) => return,
                },
                woken = wake.changed(), if last.is_some() => match (woken, &last) {
                    (Ok(()), Some((_, at))) => Prompt::WakeUp { silent_for: at.elapsed() },
                    _ => return,
                },
                () = sender.closed() => return,
            };
            let Some((report, _)) = last.clone() else { continue };
            let orders = answer(report, prompt).await;
            let refused = orders.is_err();
            if sender.send(orders).await.is_err() || refused {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}
