//! A thread with a bounded queue in front: what waits is computed together.
//!
//! A batch is what has queued up while the last one was computed, so an idle node answers at once and a busy one works in
//! large batches, with no delay to tune. Engines take turns: two that compute at the same time only fight over the cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// How much an engine takes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Most questions computed together.
    pub(crate) batch: usize,
    /// Most questions that may wait.
    pub(crate) queue: usize,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    /// The queue is full.
    #[error("the model's queue is full")]
    Busy,
    /// The computation failed.
    #[error("{0}")]
    Failed(String),
}

/// The cores that all engines of a node share.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    threads: usize,
    turn: Arc<Mutex<()>>,
}

impl Cores {
    /// Engines compute with `threads` threads, one at a time.
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads, turn: Arc::default() }
    }

    fn in_turn<T>(&self, compute: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        compute()
    }
}

#[derive(Debug)]
struct Job<Q, A> {
    question: Q,
    answer: oneshot::Sender<Result<A, EngineError>>,
}

/// A model at work. Its thread ends when the last handle is gone and the queue is empty.
#[derive(Debug)]
pub(crate) struct Engine<Q, A> {
    queue: mpsc::Sender<Job<Q, A>>,
}

impl<Q: Send + 'static, A: Send + 'static> Engine<Q, A> {
    /// Starts the thread. `compute` gives an answer for each of some questions; `note` hears the size of each batch.
    pub(crate) fn start(
        cores: Cores,
        size: Size,
        compute: impl Fn(&[Q]) -> Result<Vec<A>, String> + Send + 'static,
        note: impl Fn(usize) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(size.queue);
        std::thread::Builder::new().name("model".into()).spawn(move || {
            // libtorch keeps its number of threads per calling thread.
            ursa_learner::set_threads(cores.threads);
            work(jobs, &cores, size.batch, &compute, &note);
        })?;
        Ok(Self { queue })
    }

    /// The answers to `questions`, in their order.
    ///
    /// # Errors
    /// `Busy` at once when not all of them fit into the queue.
    pub(crate) async fn ask(&self, questions: Vec<Q>) -> Result<Vec<A>, EngineError> {
        let mut answers = Vec::with_capacity(questions.len());
        let places = self.queue.try_reserve_many(questions.len()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => EngineError::Busy,
            mpsc::error::TrySendError::Closed(()) => gone(),
        })?;
        for (place, question) in places.zip(questions) {
            let (answer, receiver) = oneshot::channel();
            place.send(Job { question, answer });
            answers.push(receiver);
        }
        let mut found = Vec::with_capacity(answers.len());
        for answer in answers {
            found.push(answer.await.unwrap_or_else(|_| Err(gone()))?);
        }
        Ok(found)
    }
}

fn gone() -> EngineError {
    EngineError::Failed("its thread has ended".into())
}

fn work<Q, A>(
    mut jobs: mpsc::Receiver<Job<Q, A>>,
    cores: &Cores,
    most: usize,
    compute: &impl Fn(&[Q]) -> Result<Vec<A>, String>,
    note: &impl Fn(usize),
) {
    while let Some(first) = jobs.blocking_recv() {
        cores.in_turn(|| {
            // Collected after the wait for the turn: the longer it was, the more there is to take along.
            let mut batch = vec![first];
            while batch.len() < most
                && let Ok(job) = jobs.try_recv()
            {
                batch.push(job);
            }
            batch.retain(|job| !job.answer.is_closed());
            if !batch.is_empty() {
                note(batch.len());
                answer(batch, compute);
            }
        });
    }
}

fn answer<Q, A>(batch: Vec<Job<Q, A>>, compute: &impl Fn(&[Q]) -> Result<Vec<A>, String>) {
    let (questions, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|job| (job.question, job.answer)).unzip();
    // libtorch reports what it cannot do by an exception, which arrives as a panic; the model goes on serving.
    let found = catch_unwind(AssertUnwindSafe(|| compute(&questions)))
        .unwrap_or_else(|_| Err("the computation panicked".into()))
        .and_then(|found| if found.len() == answers.len() { Ok(found) } else { Err("answers are missing".into()) });
    match found {
        // A receiver that is gone has hung up meanwhile.
        Ok(found) => answers.into_iter().zip(found).for_each(|(answer, one)| drop(answer.send(Ok(one)))),
        Err(reason) => {
            for answer in answers {
                drop(answer.send(Err(EngineError::Failed(reason.clone()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as blocking;
    use std::time::Duration;

    use super::*;

    type Doubler = Engine<Vec<u8>, Vec<f32>>;

    const SIZE: Size = Size { batch: 16, queue: 256 };

    #[expect(clippy::unnecessary_wraps, reason = "the shape of a computation")]
    fn double(pictures: &[Vec<u8>]) -> Result<Vec<Vec<f32>>, String> {
        Ok(pictures.iter().map(|picture| vec![f32::from(picture[0]) * 2.0]).collect())
    }

    /// An engine that computes one batch per token, and the sizes of its batches.
    fn gated() -> (Arc<Doubler>, blocking::Sender<()>, mpsc::UnboundedReceiver<usize>) {
        let (tokens, gate) = blocking::channel::<()>();
        let (sizes, seen) = mpsc::unbounded_channel();
        let compute = move |pictures: &[Vec<u8>]| {
            gate.recv_timeout(Duration::from_secs(20)).map_err(|error| error.to_string())?;
            double(pictures)
        };
        let note = move |size| sizes.send(size).unwrap();
        (Arc::new(Engine::start(Cores::new(1), SIZE, compute, note).unwrap()), tokens, seen)
    }

    #[tokio::test]
    async fn rows_come_back_in_the_order_of_the_pictures() {
        let engine = Engine::start(Cores::new(1), SIZE, double, |_| ()).unwrap();
        let pictures = (0..40).map(|value| vec![value]).collect();
        let rows = engine.ask(pictures).await.unwrap();
        assert_eq!(rows, (0..40_u8).map(|value| vec![f32::from(value) * 2.0]).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_queues_up_is_computed_together_up_to_the_limit() {
        let (engine, tokens, mut seen) = gated();
        let first = tokio::spawn({
            let engine = engine.clone();
            async move { engine.ask(vec![vec![1]]).await }
        });
        assert_eq!(seen.recv().await, Some(1));
        let rest = tokio::spawn(async move { engine.ask(vec![vec![2]; 20]).await });
        tokio::task::yield_now().await;
        while !rest.is_finished() {
            let _ = tokens.send(());
            tokio::task::yield_now().await;
        }
        assert_eq!(first.await.unwrap().unwrap(), [[2.0]]);
        assert_eq!(rest.await.unwrap().unwrap().len(), 20);
        assert_eq!((seen.recv().await, seen.recv().await), (Some(16), Some(4)));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (engine, tokens, mut seen) = gated();
        let held = tokio::spawn({
            let engine = engine.clone();
            async move { engine.ask(vec![vec![1]]).await }
        });
        assert_eq!(seen.recv().await, Some(1));
        assert_eq!(engine.ask(vec![vec![2]; SIZE.queue + 1]).await, Err(EngineError::Busy));
        let _ = tokens.send(());
        assert!(held.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_panic_fails_its_batch_and_not_the_next() {
        let compute = |pictures: &[Vec<u8>]| if pictures[0][0] == 9 { panic!("bad tensor") } else { double(pictures) };
        let engine = Engine::start(Cores::new(1), SIZE, compute, |_| ()).unwrap();
        assert!(matches!(engine.ask(vec![vec![9]]).await, Err(EngineError::Failed(_))));
        assert_eq!(engine.ask(vec![vec![3]]).await, Ok(vec![vec![6.0]]));
    }
}
