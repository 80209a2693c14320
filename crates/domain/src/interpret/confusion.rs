//! Which classes are taken for which.

use serde::{Deserialize, Serialize};

use super::Prediction;
use crate::proportion::Proportion;

/// Counts by actual class (rows) and predicted class (columns). Matrices of parts add up to that of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Square, in the order of the classes.
    pub counts: Vec<Vec<u64>>,
}

/// Pictures of one class that were taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confused {
    /// What they are by their label,
    pub actual: u32,
    /// what they were taken for,
    pub predicted: u32,
    /// and how many.
    pub count: u64,
}

impl Confusion {
    /// Of `predictions` among `classes` classes.
    pub fn of(predictions: &[Prediction], classes: usize) -> Self {
        let mut counts = vec![vec![0; classes]; classes];
        for prediction in predictions {
            counts[prediction.actual as usize][prediction.predicted as usize] += 1;
        }
        Self { counts }
    }

    /// Adds the counts of another part.
    pub fn add(&mut self, other: &Self) {
        for (row, others) in self.counts.iter_mut().zip(&other.counts) {
            row.iter_mut().zip(others).for_each(|(count, other)| *count += other);
        }
    }

    /// Each row as shares of its sum; a row of nothing is zeros.
    pub fn normalised(&self) -> Vec<Vec<f64>> {
        let share = |row: &Vec<u64>| {
            let sum = row.iter().sum::<u64>().max(1) as f64;
            row.iter().map(|&count| count as f64 / sum).collect()
        };
        self.counts.iter().map(share).collect()
    }

    /// The pairs confused `least` times or more, most first.
    pub fn most_confused(&self, least: u64) -> Vec<Confused> {
        let cells = self.counts.iter().enumerate().flat_map(|(actual, row)| {
            let cell = move |(predicted, &count): (usize, &u64)| Confused {
                actual: actual as u32,
                predicted: predicted as u32,
                count,
            };
            row.iter().enumerate().map(cell)
        });
        let mut pairs: Vec<Confused> =
            cells.filter(|pair| pair.actual != pair.predicted && pair.count >= least.max(1)).collect();
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.count));
        pairs
    }

    /// Wrong of each class.
    pub fn class_errors(&self) -> Vec<Proportion> {
        let errors = |(class, row): (usize, &Vec<u64>)| {
            let of = row.iter().sum();
            Proportion { count: of - row[class], of }
        };
        self.counts.iter().enumerate().map(errors).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_pairs_are_listed_most_first() {
        let mut confusion = Confusion { counts: vec![vec![5, 1, 0], vec![2, 7, 0], vec![0, 0, 0]] };
        confusion.add(&Confusion { counts: vec![vec![1, 0, 4], vec![0, 0, 0], vec![0, 0, 3]] });
        assert_eq!(confusion.counts, [[6, 1, 4], [2, 7, 0], [0, 0, 3]]);
        let pairs: Vec<_> = confusion.most_confused(2).iter().map(|p| (p.actual, p.predicted, p.count)).collect();
        assert_eq!(pairs, [(0, 2, 4), (1, 0, 2)]);
        assert_eq!(confusion.class_errors()[0], Proportion { count: 5, of: 11 });
        assert!((confusion.normalised()[1][0] - 2.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn predictions_land_in_the_row_of_the_truth() {
        let wrong =
            Prediction { id: uuid::Uuid::nil(), actual: 0, predicted: 1, probabilities: vec![0.4, 0.6], loss: 0.9 };
        assert_eq!(Confusion::of(&[wrong], 2).counts, [[0, 1], [0, 0]]);
    }
}
