//! How busy GPUs are while a run has them.

use tokio::sync::watch;
use ursa_proto::v1;

/// What was seen of some GPUs since that was last told.
#[derive(Debug)]
pub(crate) struct GpuLoad {
    all: watch::Receiver<Vec<v1::Gpu>>,
    indices: Vec<u32>,
    /// Of each GPU, whenever somebody has looked: a share in [0, 1].
    busy: Vec<f64>,
    memory_bytes: Option<u64>,
}

/// See [`GpuLoad::take`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    /// Mean share of the time that they computed, in [0, 1]; `None` where the tool does not know.
    pub(crate) utilisation: Option<f64>,
    /// The most memory that was in use on all of them together, by whomever; `None` where the tool does not know.
    pub(crate) memory_bytes: Option<u64>,
}

impl GpuLoad {
    pub(super) fn new(mut all: watch::Receiver<Vec<v1::Gpu>>, indices: &[u32]) -> Self {
        // What was seen before the run began is none of its business.
        all.mark_unchanged();
        Self { all, indices: indices.to_vec(), busy: Vec::new(), memory_bytes: None }
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
        let mine = || all.iter().filter(|gpu| self.indices.contains(&gpu.index));
        self.busy.extend(mine().filter_map(|gpu| gpu.utilisation_percent).map(|percent| f64::from(percent) / 100.0));
        // A GPU whose memory is not known has none.
        let known = mine().filter(|gpu| gpu.memory_bytes > 0);
        let used = known.map(|gpu| gpu.memory_bytes.saturating_sub(gpu.free_bytes)).reduce(|all, one| all + one);
        self.memory_bytes = self.memory_bytes.max(used);
    }

    /// What was seen since this was last asked.
    pub(crate) fn take(&mut self) -> Seen {
        let busy = std::mem::take(&mut self.busy);
        let mean = || busy.iter().sum::<f64>() / busy.len() as f64;
        Seen { utilisation: (!busy.is_empty()).then(mean), memory_bytes: self.memory_bytes.take() }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const NOTHING: Seen = Seen { utilisation: None, memory_bytes: None };

    fn gpu(index: u32, utilisation_percent: u32, free: u64) -> v1::Gpu {
        let utilisation_percent = Some(utilisation_percent);
        v1::Gpu { index, utilisation_percent, memory_bytes: 80 << 30, free_bytes: free << 30, ..v1::Gpu::default() }
    }

    #[test]
    fn what_is_told_is_the_mean_of_ones_own_gpus_since_it_was_last_told() {
        let (sender, receiver) = watch::channel(vec![gpu(0, 100, 0), gpu(1, 100, 0), gpu(2, 100, 0)]);
        let mut load = GpuLoad::new(receiver, &[0, 2]);
        assert!(load.look().now_or_never().is_none(), "nobody has looked since");
        assert_eq!(load.take(), NOTHING);
        for (busy, free) in [(40, 60), (80, 30)] {
            sender.send_replace(vec![gpu(0, busy, free), gpu(1, 7, 7), gpu(2, 100, 70)]);
            load.look().now_or_never().unwrap();
        }
        let seen = load.take();
        assert!((seen.utilisation.unwrap() - 0.8).abs() < 1e-9, "{seen:?}");
        assert_eq!(seen.memory_bytes, Some((50 + 10) << 30));
        assert_eq!(load.take(), NOTHING);
    }

    #[test]
    fn what_the_tool_does_not_know_is_not_told() {
        let (sender, receiver) = watch::channel(Vec::new());
        let mut load = GpuLoad::new(receiver, &[0]);
        sender.send_replace(vec![v1::Gpu::default()]);
        load.look().now_or_never().unwrap();
        assert_eq!(load.take(), NOTHING);
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
