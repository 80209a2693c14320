//! The order in which training pictures are learned. Pure.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use ursa_domain::recipe::Balance;

use crate::randomness::{Purpose, stream};

/// Cuts epochs into batches of positions in the training side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sampler {
    /// Positions by class.
    classes: Vec<Vec<usize>>,
    /// How often each class is shown in an epoch.
    shown: Vec<usize>,
    batch_size: usize,
    seed: u64,
    purpose: Purpose,
}

impl Sampler {
    /// Every batch has `batch_size` pictures, or all of an epoch where there are fewer; what is left over is not learned in
    /// that epoch (fastai's `drop_last`).
    pub(crate) fn new(labels: &[u32], balance: Balance, batch_size: usize, seed: u64) -> Self {
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for (position, &label) in labels.iter().enumerate() {
            let label = label as usize;
            classes.resize(classes.len().max(label + 1), Vec::new());
            classes[label].push(position);
        }
        let largest = classes.iter().map(Vec::len).max().unwrap_or(0);
        let shown = |class: &Vec<usize>| match balance {
            Balance::Oversample if !class.is_empty() => largest,
            _ => class.len(),
        };
        let shown: Vec<usize> = classes.iter().map(shown).collect();
        let batch_size = batch_size.min(shown.iter().sum()).max(1);
        Self { classes, shown, batch_size, seed, purpose: Purpose::Order }
    }

    /// The same pictures in other orders.
    pub(crate) fn for_purpose(&self, purpose: Purpose) -> Self {
        Self { purpose, ..self.clone() }
    }

    /// Pictures in each batch.
    pub(crate) fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Batches in each epoch.
    pub(crate) fn batches_per_epoch(&self) -> u64 {
        (self.shown.iter().sum::<usize>() / self.batch_size) as u64
    }

    /// The batches of one epoch, shuffled by (seed, epoch).
    pub(crate) fn batches(&self, epoch: u32) -> Vec<Vec<usize>> {
        let mut rng = stream(self.seed, self.purpose, u64::from(epoch), 0);
        let shows = self.classes.iter().zip(&self.shown);
        let mut order: Vec<usize> = shows.flat_map(|(class, &shown)| repeat(class, shown, &mut rng)).collect();
        // Where nothing is repeated the classes must not show in the order that is shuffled.
        order.sort_unstable();
        order.shuffle(&mut rng);
        order.chunks_exact(self.batch_size).map(<[usize]>::to_vec).collect()
    }
}

/// `count` of `positions`: all of them as often as they fit, and a draw of the rest.
fn repeat(positions: &[usize], count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let Some(rest) = count.checked_rem(positions.len()) else { return Vec::new() };
    let mut repeated = positions.repeat(count / positions.len());
    if rest > 0 {
        let mut drawn = positions.to_vec();
        drawn.shuffle(rng);
        repeated.extend(&drawn[..rest]);
    }
    repeated
}

/// A fixed sample of `count` of `total` pictures, in their order.
pub(crate) fn sample(total: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..total).collect();
    order.shuffle(&mut stream(seed, Purpose::Sample, 0, 0));
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(count: usize, batch_size: usize, seed: u64) -> Sampler {
        let labels: Vec<u32> = (0..count as u32).map(|index| index % 2).collect();
        Sampler::new(&labels, Balance::None, batch_size, seed)
    }

    #[test]
    fn an_epoch_shows_every_picture_at_most_once_in_full_batches() {
        for (count, size, expected) in [(10, 4, 2), (10, 5, 2), (10, 64, 1), (3, 2, 1), (2, 2, 1)] {
            let sampler = sampler(count, size, 1);
            let batches = sampler.batches(0);
            assert_eq!(batches.len(), expected);
            assert_eq!(sampler.batches_per_epoch(), expected as u64);
            assert!(batches.iter().all(|batch| batch.len() == size.min(count)));
            let mut seen = batches.concat();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), expected * size.min(count));
        }
    }

    #[test]
    fn the_order_changes_with_epoch_seed_and_purpose_and_nothing_else() {
        let batches = |seed, epoch| sampler(50, 8, seed).batches(epoch);
        assert_eq!(batches(1, 0), batches(1, 0));
        assert_ne!(batches(1, 0), batches(1, 1));
        assert_ne!(batches(1, 0), batches(2, 0));
        assert_ne!(batches(1, 0), sampler(50, 8, 1).for_purpose(Purpose::RateOrder).batches(0));
    }

    #[test]
    fn oversampling_shows_every_class_as_often_as_the_largest() {
        let labels: Vec<u32> = [vec![0; 20], vec![1; 7], vec![2; 3]].concat();
        let sampler = Sampler::new(&labels, Balance::Oversample, 10, 1);
        let shown = sampler.batches(0).concat();
        assert_eq!(shown.len(), 60);
        for class in 0..3 {
            assert_eq!(shown.iter().filter(|&&position| labels[position] == class).count(), 20);
        }
        for position in 20..27 {
            let times = shown.iter().filter(|&&shown| shown == position).count();
            assert!((2..=3).contains(&times), "picture {position} is shown {times} times");
        }
    }

    #[test]
    fn a_sample_is_fixed_and_without_repetition() {
        assert_eq!(sample(10, 4, 1), sample(10, 4, 1));
        assert_eq!(sample(3, 9, 1), [0, 1, 2]);
        assert_ne!(sample(100, 50, 1), sample(100, 50, 2));
    }
}
