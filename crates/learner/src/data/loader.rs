//! Gathers the pictures of the next batches on a thread of its own while the network learns from the present one: pages of
//! a mapped file are read before they are needed.

use std::sync::mpsc::{Receiver, sync_channel};

use tch::Device;

use super::{Batch, Examples};
use crate::device::pinned;

/// Batches that wait, at most.
const AHEAD: usize = 2;

/// Batches in a fixed order. Its thread ends with the order, or when the loader is dropped.
#[derive(Debug)]
pub(crate) struct Loader {
    batches: Receiver<Batch>,
}

impl Loader {
    /// Begins to gather batches of `examples` in this order, where `device` can get them without anybody's waiting.
    pub(crate) fn start(examples: &Examples, order: Vec<Vec<usize>>, device: Device) -> Self {
        let (sender, batches) = sync_channel(AHEAD);
        let examples = examples.share();
        let gather = move |indices: &Vec<usize>| {
            let batch = examples.batch(indices);
            Batch { images: pinned(&batch.images, device), ..batch }
        };
        std::thread::spawn(move || {
            // An error says that nobody waits any more.
            order.iter().try_for_each(|indices| sender.send(gather(indices)))
        });
        Self { batches }
    }

    /// The next batch; `None` after the last one, and where the thread has died.
    pub(crate) fn next(&self) -> Option<Batch> {
        self.batches.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_in_order_and_are_those_that_were_asked_for() {
        let examples = Examples::new(1, &[0, 0, 0, 1, 1, 1, 2, 2, 2], vec![0, 1, 0], vec![10, 11, 12]).unwrap();
        let loader = Loader::start(&examples, vec![vec![2, 0], vec![1], vec![0, 1, 2], vec![2]], Device::Cpu);
        let keys: Vec<Vec<u128>> = std::iter::from_fn(|| loader.next()).map(|batch| batch.keys).collect();
        assert_eq!(keys, [vec![12, 10], vec![11], vec![10, 11, 12], vec![12]]);
        let batch = examples.batch(&[2, 0]);
        assert_eq!(batch.images.int64_value(&[0, 0, 0, 0]), 2);
        assert_eq!(batch.labels.int64_value(&[1]), 0);
    }

    #[test]
    fn a_loader_that_is_dropped_lets_its_thread_go() {
        let examples = Examples::new(1, &[0; 3], vec![0], vec![10]).unwrap();
        let loader = Loader::start(&examples, vec![vec![0]; 100], Device::Cpu);
        assert!(loader.next().is_some());
        drop(loader);
        assert_eq!(examples.len(), 1);
    }
}
