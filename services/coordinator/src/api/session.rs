//! What the sessions of workers and nodes have in common: reports come in, orders go out, and a wake-up counts as if the
//! last report had been repeated.

use std::future::Future;
use std::pin::Pin;

use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// The orders of a session, as tonic streams them.
pub(super) type Orders<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers every report, and every wake-up after the first one, by `answer`; ends with the reports or the first refusal.
pub(super) fn serve<R, O, F, Fut>(mut reports: Streaming<R>, mut wake: watch::Receiver<u64>, answer: F) -> Orders<O>
where
    R: Clone + Send + 'static,
    O: Send + 'static,
    F: Fn(R, bool) -> Fut + Send + 'static,
    Fut: Future<Output = Result<O, Status>> + Send,
{
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut last: Option<R> = None;
        loop {
            let fresh = tokio::select! {
                report = reports.message() => match report {
                    Ok(Some(report)) => { last = Some(report); true }
                    Ok(None) | Err(_) => return,
                },
                woken = wake.changed(), if last.is_some() => if woken.is_ok() { false } else { return },
                () = sender.closed() => return,
            };
            let Some(report) = last.clone() else { continue };
            let orders = answer(report, fresh).await;
            let refused = orders.is_err();
            if sender.send(orders).await.is_err() || refused {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}
