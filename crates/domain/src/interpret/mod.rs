//! What a model does to which picture (lesson 2, 35–44). Everything goes by image id, never by position: a training side is
//! shuffled. Counts, orders and shares alone: what a network computes is told to this module.

mod calibration;
mod confusion;
mod prediction;

pub use calibration::{Bin, Calibration};
pub use confusion::{Confused, Confusion};
pub use prediction::{Prediction, most_unsure, top_losses};

use crate::proportion::Proportion;

/// Bins of a calibration: as many as in Guo et al. 2017.
pub const BINS: usize = 15;

/// What a model gets wrong on one side of a split, and what should be looked at first.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpretation {
    /// Wrong of all pictures.
    pub errors: Proportion,
    /// Wrong of each class, in the order of the classes.
    pub class_errors: Vec<Proportion>,
    /// Who is taken for whom.
    pub confusion: Confusion,
    /// The pairs confused most often, most first.
    pub most_confused: Vec<Confused>,
    /// The pictures with the highest losses, highest first.
    pub top_losses: Vec<Prediction>,
    /// The pictures whose two best classes are closest, closest first.
    pub most_unsure: Vec<Prediction>,
    /// Whether the model is right as often as it says.
    pub calibration: Calibration,
}

impl Interpretation {
    /// Of `predictions` among `classes` classes, with lists of at most `limit` entries.
    ///
    /// # Panics
    /// When a prediction does not fit the classes: see [`Prediction::fits`].
    pub fn of(predictions: &[Prediction], classes: usize, limit: usize) -> Self {
        let listed = |found: Vec<&Prediction>| found.into_iter().cloned().collect();
        let confusion = Confusion::of(predictions, classes);
        let class_errors = confusion.class_errors();
        let mut most_confused = confusion.most_confused(1);
        most_confused.truncate(limit);
        Self {
            errors: class_errors.iter().copied().sum(),
            class_errors,
            confusion,
            most_confused,
            top_losses: listed(top_losses(predictions, limit)),
            most_unsure: listed(most_unsure(predictions, limit)),
            calibration: Calibration::of(predictions, BINS),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn prediction(id: u128, actual: u32, probabilities: [f32; 3]) -> Prediction {
        let predicted =
            (0..3).fold(0, |best, class| if probabilities[class] > probabilities[best] { class } else { best });
        let loss = -f64::from(probabilities[actual as usize]).ln();
        let (id, predicted) = (Uuid::from_u128(id), predicted as u32);
        Prediction { id, actual, predicted, probabilities: probabilities.to_vec(), loss }
    }

    #[test]
    fn every_part_tells_of_the_same_pictures() {
        let predictions = [
            prediction(1, 0, [0.9, 0.05, 0.05]),
            prediction(2, 0, [0.1, 0.8, 0.1]),
            prediction(3, 0, [0.3, 0.4, 0.3]),
            prediction(4, 1, [0.0, 1.0, 0.0]),
            prediction(5, 2, [0.02, 0.0, 0.98]),
        ];
        let found = Interpretation::of(&predictions, 3, 2);
        assert_eq!(found.errors, Proportion { count: 2, of: 5 });
        assert_eq!(found.class_errors[0], Proportion { count: 2, of: 3 });
        assert_eq!(found.confusion.counts, [[1, 2, 0], [0, 1, 0], [0, 0, 1]]);
        assert_eq!(found.most_confused, [Confused { actual: 0, predicted: 1, count: 2 }]);
        let ids = |list: &[Prediction]| list.iter().map(|one| one.id.as_u128()).collect::<Vec<_>>();
        assert_eq!((ids(&found.top_losses), ids(&found.most_unsure)), (vec![2, 3], vec![3, 2]));
        assert_eq!(found.calibration.bins.iter().map(|bin| bin.count).sum::<u64>(), 5);
    }

    #[test]
    fn nothing_is_interpreted_as_nothing() {
        let found = Interpretation::of(&[], 2, 5);
        assert_eq!((found.errors, found.class_errors.len()), (Proportion::default(), 2));
        assert!(found.top_losses.is_empty() && found.most_confused.is_empty() && found.calibration.error.abs() < 1e-12);
    }
}
