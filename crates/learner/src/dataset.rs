//! Prepared pictures in memory, and the order in which they are learned.
//!
//! Pictures are kept as bytes (`size`·`size`·3 each), a quarter of what the network's numbers would take.

use rand::seq::SliceRandom;
use tch::Tensor;

use crate::LearnError;
use crate::randomness::{Purpose, stream};

/// The pictures of one side of the split. Pictures, labels and ids correspond by position.
#[derive(Debug)]
pub struct Examples {
    images: Tensor,
    labels: Vec<u32>,
    ids: Vec<u128>,
}

impl Examples {
    /// Puts `pixels` (pictures of `size`×`size`×3 bytes, one after another) beside their class indices and image ids.
    pub fn new(size: u32, pixels: &[u8], labels: Vec<u32>, ids: Vec<u128>) -> Result<Self, LearnError> {
        let expected = labels.len() * size as usize * size as usize * 3;
        if pixels.len() != expected || ids.len() != labels.len() {
            let reason = format!("{} bytes of pixels for {} labels and {} ids", pixels.len(), labels.len(), ids.len());
            return Err(LearnError::UnusableData(reason));
        }
        let images = Tensor::from_slice(pixels).view([labels.len() as i64, i64::from(size), i64::from(size), 3]);
        Ok(Self { images, labels, ids })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Class index of each.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// All pictures, u8 `[n, size, size, 3]`.
    pub(crate) fn images(&self) -> &Tensor {
        &self.images
    }

    /// The pictures, labels and ids at `indices`.
    pub(crate) fn pick(&self, indices: &[usize]) -> (Tensor, Tensor, Vec<u128>) {
        let positions: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
        let labels: Vec<i64> = indices.iter().map(|&index| i64::from(self.labels[index])).collect();
        let ids = indices.iter().map(|&index| self.ids[index]).collect();
        (self.images.index_select(0, &Tensor::from_slice(&positions)), Tensor::from_slice(&labels), ids)
    }
}

/// Both sides of the split and the classes.
#[derive(Debug)]
pub struct Dataset {
    /// In the order of the labels.
    pub classes: Vec<String>,
    /// What is learned from.
    pub train: Examples,
    /// What is measured on.
    pub valid: Examples,
}

impl Dataset {
    /// Refuses data that no classifier can be learned from or measured on, saying what is lacking.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse = |reason: String| Err(LearnError::UnusableData(reason));
        if self.classes.len() < 2 {
            return refuse(format!("there must be two classes or more, there are {:?}", self.classes));
        }
        for (side, examples) in [("training", &self.train), ("validation", &self.valid)] {
            if examples.labels.iter().any(|&label| label as usize >= self.classes.len()) {
                return refuse(format!("a label on the {side} side names none of the {} classes", self.classes.len()));
            }
            let absent = |index: &usize| !examples.labels.contains(&(*index as u32));
            if let Some(index) = (0..self.classes.len()).find(absent) {
                let class = &self.classes[index];
                return refuse(format!("class {class:?} has no picture on the {side} side; collect more of it"));
            }
        }
        Ok(())
    }
}

/// The batches of one epoch: positions in the training side, shuffled by (seed, epoch).
///
/// Every batch has `batch_size` pictures, or all where there are fewer; what is left over is not learned this epoch.
pub(crate) fn batches(count: usize, batch_size: usize, seed: u64, epoch: u32) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream(seed, Purpose::Order, u64::from(epoch), 0));
    order.chunks_exact(batch_size.min(count).max(1)).map(<[usize]>::to_vec).collect()
}

/// How many batches [`batches`] makes.
pub(crate) fn batches_per_epoch(count: usize, batch_size: usize) -> u64 {
    (count / batch_size.min(count).max(1)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(labels: &[u32]) -> Examples {
        let pixels = vec![0; labels.len() * 4 * 3];
        Examples::new(2, &pixels, labels.to_vec(), vec![0; labels.len()]).unwrap()
    }

    #[test]
    fn an_epoch_shows_every_picture_at_most_once_in_full_batches() {
        for (count, size, expected) in [(10, 4, 2), (10, 5, 2), (10, 64, 1), (3, 2, 1), (2, 2, 1)] {
            let batches = batches(count, size, 1, 0);
            assert_eq!(batches.len(), expected);
            assert_eq!(batches_per_epoch(count, size), expected as u64);
            assert!(batches.iter().all(|batch| batch.len() == size.min(count)));
            let mut seen = batches.concat();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), expected * size.min(count));
        }
    }

    #[test]
    fn the_order_changes_with_epoch_and_seed_and_nothing_else() {
        assert_eq!(batches(50, 8, 1, 0), batches(50, 8, 1, 0));
        assert_ne!(batches(50, 8, 1, 0), batches(50, 8, 1, 1));
        assert_ne!(batches(50, 8, 1, 0), batches(50, 8, 2, 0));
    }

    #[test]
    fn one_class_or_a_class_missing_on_a_side_is_refused_by_name() {
        let refused = |classes: &[&str], train: &[u32], valid: &[u32]| {
            let classes = classes.iter().map(ToString::to_string).collect();
            Dataset { classes, train: examples(train), valid: examples(valid) }.check().unwrap_err().to_string()
        };
        assert!(refused(&["teddy"], &[0, 0], &[0]).contains("two classes"));
        assert!(refused(&["teddy", "black"], &[0, 1], &[0]).contains("\"black\" has no picture on the validation"));
        assert!(refused(&["teddy", "black"], &[1, 1], &[0, 1]).contains("\"teddy\" has no picture on the training"));
        assert!(refused(&["teddy", "black"], &[0, 1, 2], &[0, 1]).contains("names none"));
    }

    #[test]
    fn pixels_that_do_not_fit_the_labels_are_refused() {
        assert!(Examples::new(2, &[0; 13], vec![0], vec![0]).is_err());
    }
}
