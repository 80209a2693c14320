//! Many requests in one commit. Whoever comes while a commit is on its way shares the next one: nobody waits when there is
//! little to do, and a commit carries hundreds when there is much.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use ursa_proto::{ApiError, ErrorCode};

/// In one commit.
const AT_A_TIME: usize = 1000;
/// So often it lets others read what has arrived, and finds nothing, before it commits.
const TRIES: u32 = 4;

type Waiting<T, A> = (T, oneshot::Sender<A>);

/// The queue of those who ask for `T` and hear `A`.
#[derive(Debug)]
pub(crate) struct Gathered<T, A> {
    sender: mpsc::UnboundedSender<Waiting<T, A>>,
    /// Whoever commits takes it: when that ends, nobody is left waiting.
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Waiting<T, A>>>>,
    on_their_way: AtomicUsize,
}

impl<T, A> Default for Gathered<T, A> {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: Mutex::new(Some(receiver)), on_their_way: AtomicUsize::new(0) }
    }
}

impl<T, A> Gathered<T, A> {
    /// Resolves when the request is committed, or is not.
    ///
    /// # Errors
    /// This coordinator ends.
    pub(crate) async fn ask(&self, request: T) -> Result<A, ApiError> {
        let (sender, answer) = oneshot::channel();
        let ends = || ApiError::new(ErrorCode::Unavailable, "this coordinator ends; try again");
        self.on_their_way.fetch_add(1, Ordering::Relaxed);
        self.sender.send((request, sender)).map_err(|_| ends())?;
        answer.await.map_err(|_| ends())
    }

    /// Whether requests are waiting or being committed.
    pub(crate) fn is_busy(&self) -> bool {
        self.on_their_way.load(Ordering::Relaxed) > 0
    }

    /// Commits for ever, one after the other; for one caller. `commit` answers in the order of the requests.
    pub(crate) async fn run<F: Future<Output = Vec<A>>>(&self, commit: impl Fn(Vec<T>) -> F) {
        let Some(mut receiver) = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut waiting: Vec<Waiting<T, A>> = Vec::new();
        while receiver.recv_many(&mut waiting, AT_A_TIME).await > 0 {
            come_together(&mut receiver, &mut waiting).await;
            let count = waiting.len();
            // Whoever has gone meanwhile may ask again.
            let (requests, senders): (Vec<T>, Vec<oneshot::Sender<A>>) =
                waiting.drain(..).filter(|(_, sender)| !sender.is_closed()).unzip();
            let answers = if requests.is_empty() { Vec::new() } else { commit(requests).await };
            self.on_their_way.fetch_sub(count, Ordering::Relaxed);
            for (answer, sender) in answers.into_iter().zip(senders) {
                let _ = sender.send(answer);
            }
        }
    }
}

/// Whoever begins together mostly ends together: what has arrived meanwhile, and only has not been read, comes with them.
async fn come_together<T>(receiver: &mut mpsc::UnboundedReceiver<T>, waiting: &mut Vec<T>) {
    let mut in_vain = 0;
    while in_vain < TRIES && waiting.len() < AT_A_TIME {
        tokio::task::yield_now().await;
        let before = waiting.len();
        while waiting.len() < AT_A_TIME
            && let Ok(next) = receiver.try_recv()
        {
            waiting.push(next);
        }
        in_vain = if waiting.len() == before { in_vain + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_while_a_commit_is_on_its_way_shares_the_next() {
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
            loops.run(commit).await;
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
        assert_eq!(commits.load(Ordering::Relaxed), 2, "the first, and all others together");
        assert!(!gathered.is_busy());
    }

    #[tokio::test]
    async fn whoever_comes_a_moment_later_shares_the_first() {
        let gathered = Gathered::<u32, u32>::default();
        let commits = AtomicUsize::new(0);
        let commit = |requests: Vec<u32>| {
            commits.fetch_add(1, Ordering::Relaxed);
            async move { requests }
        };
        let late = async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            gathered.ask(2).await
        };
        let asking = async { tokio::join!(gathered.ask(1), late) };
        let (first, second) = tokio::select! {
            answers = asking => answers,
            () = gathered.run(commit) => unreachable!("it commits for ever"),
        };
        assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
        assert_eq!(commits.load(Ordering::Relaxed), 1);
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
        let running = tokio::time::timeout(Duration::from_secs(1), gathered.run(commit));
        let (answer, _) = tokio::join!(gathered.ask(8), running);
        answer.unwrap();
        assert_eq!(*done.lock().unwrap(), [8]);
        assert!(gathered.ask(9).await.is_err(), "nobody commits any more");
    }
}
