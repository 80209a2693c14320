//! Ends many short attempts in one transaction. Whoever comes while a commit is on its way shares the next one: nobody
//! waits when there is little to do, and a commit carries hundreds when there is much.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use ursa_domain::Lease;
use ursa_proto::{ApiError, ErrorCode};

use crate::context::Context;
use crate::store::Completion;

const AT_A_TIME: usize = 1000;

type Waiting = (Lease, oneshot::Sender<Completion>);

/// The queue of those who want to end.
#[derive(Debug)]
pub(crate) struct Completions {
    sender: mpsc::UnboundedSender<Waiting>,
    receiver: Mutex<mpsc::UnboundedReceiver<Waiting>>,
}

impl Default for Completions {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: Mutex::new(receiver) }
    }
}

impl Completions {
    /// Ends a probe attempt well; resolves when that is durable.
    ///
    /// # Errors
    /// The lease is lost, or the database is away.
    pub(crate) async fn complete(&self, lease: Lease) -> Completion {
        let (sender, answer) = oneshot::channel();
        let ends = || ApiError::new(ErrorCode::Unavailable, "this coordinator ends; try again");
        self.sender.send((lease, sender)).map_err(|_| ends())?;
        answer.await.map_err(|_| ends())?
    }
}

/// Commits for ever.
pub(super) async fn run(context: Context, completions: Arc<Completions>) {
    let mut receiver = completions.receiver.lock().await;
    let mut waiting: Vec<Waiting> = Vec::new();
    while receiver.recv_many(&mut waiting, AT_A_TIME).await > 0 {
        let leases: Vec<Lease> = waiting.iter().map(|(lease, _)| *lease).collect();
        let answers = match context.store.complete_probes(&leases).await {
            Ok(answers) => answers,
            Err(error) => {
                let error = ApiError::from(error);
                leases.iter().map(|_| Err(error.clone())).collect()
            }
        };
        let ended: Vec<Lease> =
            leases.into_iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(lease, _)| lease).collect();
        context.roster.ended(&ended, false);
        for ((_, sender), answer) in waiting.drain(..).zip(answers) {
            // Whoever asked has gone; it will ask again.
            let _ = sender.send(answer);
        }
    }
}
