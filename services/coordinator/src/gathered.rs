//! Many requests in one commit. Whoever comes while as many commits are on their way as there may be shares the next one: nobody
//! waits when there is little to do, and a commit carries hundreds when there is much.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use ursa_proto::{ApiError, ErrorCode};

/// In one commit.
const AT_A_TIME: usize = 1000;

type Waiting<T, A> = (T, oneshot::Sender<A>);

/// The queue of those who ask for `T` and hear `A`.
#[derive(Debug)]
pub(crate) struct Gathered<T, A> {
    sender: mpsc::UnboundedSender<Waiting<T, A>>,
    receiver: Mutex<mpsc::UnboundedReceiver<Waiting<T, A>>>,
}

impl<T, A> Default for Gathered<T, A> {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: Mutex::new(receiver) }
    }
}

impl<T: Send + 'static, A: Send + 'static> Gathered<T, A> {
    /// Resolves when the request is committed, or is not.
    ///
    /// # Errors
    /// This coordinator ends.
    pub(crate) async fn ask(&self, request: T) -> Result<A, ApiError> {
        let (sender, answer) = oneshot::channel();
        let ends = || ApiError::new(ErrorCode::Unavailable, "this coordinator ends; try again");
        self.sender.send((request, sender)).map_err(|_| ends())?;
        answer.await.map_err(|_| ends())
    }

    /// Commits for ever, at most so many at the same time. `commit` answers in the order of the requests.
    pub(crate) async fn run<F>(&self, at_once: usize, commit: impl Fn(Vec<T>) -> F)
    where
        F: Future<Output = Vec<A>> + Send + 'static,
    {
        let mut receiver = self.receiver.lock().await;
        let turns = Arc::new(Semaphore::new(at_once));
        // It is never closed.
        while let Ok(turn) = turns.clone().acquire_owned().await {
            let mut waiting: Vec<Waiting<T, A>> = Vec::new();
            if receiver.recv_many(&mut waiting, AT_A_TIME).await == 0 {
                return;
            }
            // Whoever has gone meanwhile may ask again.
            let (requests, senders): (Vec<T>, Vec<oneshot::Sender<A>>) =
                waiting.into_iter().filter(|(_, sender)| !sender.is_closed()).unzip();
            let answers = commit(requests);
            tokio::spawn(async move {
                for (answer, sender) in answers.await.into_iter().zip(senders) {
                    let _ = sender.send(answer);
                }
                drop(turn);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    const AT_ONCE: usize = 2;

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_while_others_are_on_their_way_shares_the_next() {
        let gathered = Arc::new(Gathered::<u32, u32>::default());
        let commits = Arc::new(AtomicUsize::new(0));
        let (loops, counted) = (gathered.clone(), commits.clone());
        tokio::spawn(async move {
            let commit = |requests: Vec<u32>| {
                counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    requests.into_iter().map(|request| request * 2).collect()
                }
            };
            loops.run(AT_ONCE, commit).await;
        });
        let ask = |request: u32| {
            let gathered = &gathered;
            async move {
                tokio::time::sleep(Duration::from_millis(u64::from(request))).await;
                gathered.ask(request).await
            }
        };
        let answers = join_all((0..100).map(ask)).await;
        let expected: Vec<u32> = (0..100).map(|request| request * 2).collect();
        assert_eq!(answers.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), expected);
        assert_eq!(commits.load(Ordering::Relaxed), AT_ONCE + 1, "the first two, and all others together");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_any_more_is_not_done() {
        let gathered = Gathered::<u32, ()>::default();
        let gone = tokio::time::timeout(Duration::from_secs(1), gathered.ask(7)).await;
        assert!(gone.is_err());
        let done = std::sync::Mutex::new(Vec::new());
        let commit = |requests: Vec<u32>| {
            done.lock().unwrap().extend(requests.iter().copied());
            async move { requests.into_iter().map(drop).collect() }
        };
        let (answer, running) =
            (gathered.ask(8), tokio::time::timeout(Duration::from_secs(1), gathered.run(1, commit)));
        let (answer, _) = tokio::join!(answer, running);
        answer.unwrap();
        assert_eq!(*done.lock().unwrap(), [8]);
    }
}
