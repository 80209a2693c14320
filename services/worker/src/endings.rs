//! The ends of attempts that take less time than a call to the coordinator. Whoever ends while as many calls are on their way
//! as there may be shares the next one: nobody waits when there is little to say, and a call carries hundreds when there is
//! much.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::{Response, Status};
use ursa_client::Client;
use ursa_proto::{ApiError, v1};

/// As many as the coordinator takes.
const AT_A_TIME: usize = 1000;
/// Calls on their way: one that is not answered holds up nobody but those who share it.
const CALLS: usize = 4;

type Ended = Result<(), ApiError>;
type Waiting = (v1::CompleteTaskRequest, oneshot::Sender<Ended>);

/// Where attempts say that they ended well.
#[derive(Debug, Clone)]
pub(crate) struct Endings(mpsc::UnboundedSender<Waiting>);

impl Endings {
    /// Gathers them, and calls the coordinator, until the last clone has gone.
    pub(crate) fn gather(client: Client) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(tell(client, receiver));
        Self(sender)
    }

    /// Says that an attempt ended well; resolves when that is recorded. Like a call of its own, it may be repeated.
    ///
    /// # Errors
    /// As [`CompleteTask`](v1::worker_service_client::WorkerServiceClient::complete_task).
    pub(crate) async fn complete(&self, completion: v1::CompleteTaskRequest) -> Result<Response<()>, Status> {
        let (sender, answer) = oneshot::channel();
        let gone = || Status::unavailable("nobody gathers ends any more");
        self.0.send((completion, sender)).map_err(|_| gone())?;
        Ok(Response::new(answer.await.map_err(|_| gone())??))
    }
}

async fn tell(client: Client, mut receiver: mpsc::UnboundedReceiver<Waiting>) {
    let calls = Arc::new(Semaphore::new(CALLS));
    // It is never closed.
    while let Ok(call) = calls.clone().acquire_owned().await {
        let mut waiting: Vec<Waiting> = Vec::new();
        if receiver.recv_many(&mut waiting, AT_A_TIME).await == 0 {
            return;
        }
        gather(&mut receiver, &mut waiting).await;
        let client = client.clone();
        tokio::spawn(async move {
            tell_some(&client, waiting).await;
            drop(call);
        });
    }
}

/// Those that began with them are about to end with them.
async fn gather(receiver: &mut mpsc::UnboundedReceiver<Waiting>, waiting: &mut Vec<Waiting>) {
    loop {
        tokio::task::yield_now().await;
        let before = waiting.len();
        while waiting.len() < AT_A_TIME
            && let Ok(next) = receiver.try_recv()
        {
            waiting.push(next);
        }
        if waiting.len() == before {
            return;
        }
    }
}

async fn tell_some(client: &Client, waiting: Vec<Waiting>) {
    let completions = waiting.iter().map(|(completion, _)| completion.clone()).collect();
    let answer = client.workers().complete_tasks(v1::CompleteTasksRequest { completions }).await;
    let outcomes = answer.map(|answer| answer.into_inner().outcomes).map_err(ApiError::from);
    for (index, (_, sender)) in waiting.into_iter().enumerate() {
        // Whoever does not wait any more has lost its lease.
        let _ = sender.send(outcome(&outcomes, index));
    }
}

fn outcome(outcomes: &Result<Vec<v1::CompletionOutcome>, ApiError>, index: usize) -> Ended {
    let outcomes = outcomes.as_ref().map_err(Clone::clone)?;
    let unanswered = || ApiError::from(Status::unavailable("the coordinator did not say what became of it"));
    match &outcomes.get(index).ok_or_else(unanswered)?.error {
        Some(error) => Err(error.clone().into()),
        None => Ok(()),
    }
}
