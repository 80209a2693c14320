//! How busy GPUs are while a run has them.

use tokio::sync::watch;
use ursa_proto::v1;

/// What was seen of some GPUs since that was last told.
#[derive(Debug)]
pub(crate) struct GpuLoad {
    all: watch::Receiver<Vec<v1::Gpu>>,
    indices: Vec<u32>,
    looks: u32,
    busy: f64,
    memory_bytes: u64,
}

/// See [`GpuLoad::take`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    /// Share of the time that they computed, in [0, 1].
    pub(crate) utilisation: f64,
    /// The most memory that was in use, by whomever.
    pub(crate) memory_bytes: u64,
}

impl GpuLoad {
    pub(super) fn new(mut all: watch::Receiver<Vec<v1::Gpu>>, indices: &[u32]) -> Self {
        // What was seen before the run began is none of its business.
        all.mark_unchanged();
        Self { all, indices: indices.to_vec(), looks: 0, busy: 0.0, memory_bytes: 0 }
    }

    /// Waits until somebody has looked at them, and takes note of it; for ever where there is nothing to look at. Safe to
    /// cancel.
    pub(crate) async fn look(&mut self) {
        if self.indices.is_empty() || self.all.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.take_note();
    }

    fn take_note(&mut self) {
        let all = self.all.borrow_and_update();
        let mine: Vec<&v1::Gpu> = all.iter().filter(|gpu| self.indices.contains(&gpu.index)).collect();
        if mine.is_empty() {
            return;
        }
        let percent: u32 = mine.iter().map(|gpu| gpu.utilisation_percent).sum();
        let used = mine.iter().map(|gpu| gpu.memory_bytes.saturating_sub(gpu.free_bytes)).sum();
        self.looks += 1;
        self.busy += f64::from(percent) / 100.0 / mine.len() as f64;
        self.memory_bytes = self.memory_bytes.max(used);
    }

    /// The mean of how busy they were and the most memory that was in use, all of them together, since this was last asked;
    /// `None` where nobody has looked.
    pub(crate) fn take(&mut self) -> Option<Seen> {
        let looks = std::mem::take(&mut self.looks);
        let (busy, memory_bytes) = (std::mem::take(&mut self.busy), std::mem::take(&mut self.memory_bytes));
        (looks > 0).then(|| Seen { utilisation: busy / f64::from(looks), memory_bytes })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn gpu(index: u32, utilisation_percent: u32, free: u64) -> v1::Gpu {
        v1::Gpu { index, utilisation_percent, memory_bytes: 80 << 30, free_bytes: free << 30, ..v1::Gpu::default() }
    }

    #[test]
    fn what_is_told_is_the_mean_of_ones_own_gpus_since_it_was_last_told() {
        let (sender, receiver) = watch::channel(vec![gpu(0, 100, 0), gpu(1, 100, 0), gpu(2, 100, 0)]);
        let mut load = GpuLoad::new(receiver, &[0, 2]);
        assert!(load.look().now_or_never().is_none(), "nobody has looked since");
        assert_eq!(load.take(), None);
        for (busy, free) in [(40, 60), (80, 30)] {
            sender.send_replace(vec![gpu(0, busy, free), gpu(1, 7, 7), gpu(2, 100, 70)]);
            load.look().now_or_never().unwrap();
        }
        let seen = load.take().unwrap();
        assert!((seen.utilisation - 0.8).abs() < 1e-9, "{seen:?}");
        assert_eq!(seen.memory_bytes, (50 + 10) << 30);
        assert_eq!(load.take(), None);
    }

    #[test]
    fn a_run_without_gpus_waits_for_ever() {
        let (sender, receiver) = watch::channel(Vec::new());
        let mut load = GpuLoad::new(receiver, &[]);
        sender.send_replace(vec![gpu(0, 50, 50)]);
        assert!(load.look().now_or_never().is_none());
        let mut load = GpuLoad::new(sender.subscribe(), &[0]);
        drop(sender);
        assert!(load.look().now_or_never().is_none(), "nobody looks any more");
    }
}
