//! The graphics processors that this worker offers, looked at every few seconds: memory comes and goes, drivers break.

mod choice;
mod load;
mod pretended;
mod smi;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use ursa_proto::v1;

pub use choice::GpuChoice;
pub(crate) use load::{GpuLoad, Seen};
pub use pretended::PretendedGpus;
use smi::Smi;

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the last answer counts when no other comes.
const KEEP: Duration = Duration::from_secs(30);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gpus {
    seen: watch::Receiver<Vec<v1::Gpu>>,
    pretended: bool,
}

impl Gpus {
    /// Looks at this machine's, those of `choice` only, until every clone is gone. Begins with a first answer.
    pub(crate) async fn watch(choice: GpuChoice) -> Self {
        let mut known = Known::default();
        let (sender, receiver) = watch::channel(Vec::new());
        if choice.is_none() {
            return Self { seen: receiver, pretended: false };
        }
        let mut smi = Smi::new(&["nvidia-smi"]);
        known.hear(smi.list().await, Instant::now());
        sender.send_replace(choice.of(&known.gpus));
        choice.complain_of_missing(&known.gpus);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                known.hear(smi.list().await, Instant::now());
                sender.send_replace(choice.of(&known.gpus));
            }
        });
        Self { seen: receiver, pretended: false }
    }

    /// Those that are claimed to be here.
    pub(crate) fn pretend(gpus: PretendedGpus) -> Self {
        Self { seen: watch::channel(gpus.0).1, pretended: true }
    }

    /// As last seen.
    pub(crate) fn list(&self) -> Vec<v1::Gpu> {
        self.seen.borrow().clone()
    }

    /// Watches those of a run from now on.
    pub(crate) fn load(&self, indices: &[u32]) -> GpuLoad {
        GpuLoad::new(self.seen.clone(), indices)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.seen.borrow().len()
    }

    /// How many of a run's it has to find: none that is only claimed to be here.
    pub(crate) fn to_be_found(&self, indices: &[u32]) -> u32 {
        if self.pretended { 0 } else { indices.len() as u32 }
    }

    /// The first of `wanted` that is not here.
    pub(crate) fn missing(&self, wanted: &[u32]) -> Option<u32> {
        let here = self.seen.borrow();
        wanted.iter().copied().find(|index| !here.iter().any(|gpu| gpu.index == *index))
    }
}

/// What is known from the answers so far.
#[derive(Debug, Default)]
struct Known {
    gpus: Vec<v1::Gpu>,
    /// When the last good answer came.
    answered_at: Option<Instant>,
    complained: bool,
}

impl Known {
    fn hear(&mut self, answer: Result<Vec<v1::Gpu>, String>, now: Instant) {
        match answer {
            Ok(gpus) => *self = Self { gpus, answered_at: Some(now), complained: false },
            Err(reason) => self.do_without(&reason, now),
        }
    }

    fn do_without(&mut self, reason: &str, now: Instant) {
        // A machine that never had any has nothing to complain of.
        let Some(answered_at) = self.answered_at else {
            tracing::debug!(reason, "no GPU is offered");
            return;
        };
        if !self.complained {
            tracing::warn!(reason, "the GPUs cannot be looked at");
            self.complained = true;
        }
        if now.duration_since(answered_at) > KEEP && !self.gpus.is_empty() {
            tracing::warn!(reason, "the GPUs are not offered any more");
            self.gpus.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(count: u32) -> Vec<v1::Gpu> {
        (0..count).map(|index| v1::Gpu { index, ..v1::Gpu::default() }).collect()
    }

    #[test]
    fn the_last_answer_counts_for_a_while_and_then_no_gpu_is_offered() {
        let begin = Instant::now();
        let mut known = Known::default();
        known.hear(Err("not here".into()), begin);
        assert_eq!(known.gpus, []);
        known.hear(Ok(gpus(2)), begin);
        known.hear(Err("hangs".into()), begin + KEEP);
        assert_eq!(known.gpus.len(), 2);
        known.hear(Err("hangs".into()), begin + KEEP + LOOK_EVERY);
        assert_eq!(known.gpus, []);
        known.hear(Ok(gpus(1)), begin + 2 * KEEP);
        assert_eq!(known.gpus.len(), 1, "a driver that comes back is used again");
    }

    #[test]
    fn a_good_answer_without_gpus_is_believed_at_once() {
        let begin = Instant::now();
        let mut known = Known::default();
        known.hear(Ok(gpus(2)), begin);
        known.hear(Ok(gpus(0)), begin);
        assert_eq!(known.gpus, []);
    }

    #[tokio::test]
    async fn a_gpu_that_is_not_here_is_named() {
        let here = Gpus::pretend("24GiB,24GiB".parse().unwrap());
        assert_eq!(here.missing(&[0, 1]), None);
        assert_eq!(here.missing(&[1, 2]), Some(2));
        let none = Gpus::watch("none".parse().unwrap()).await;
        assert_eq!((none.count(), none.missing(&[])), (0, None));
    }

    #[tokio::test]
    async fn a_run_has_to_find_the_gpus_it_is_given_but_none_that_is_pretended() {
        let pretended = Gpus::pretend("24GiB,24GiB".parse().unwrap());
        assert_eq!(pretended.to_be_found(&[0, 1]), 0);
        let watched = Gpus::watch("none".parse().unwrap()).await;
        assert_eq!([watched.to_be_found(&[]), watched.to_be_found(&[1, 2])], [0, 2]);
    }
}
