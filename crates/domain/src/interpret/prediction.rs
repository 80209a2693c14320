//! One picture's answer, and the pictures one should look at first.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a model says of one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The image's id.
    pub id: Uuid,
    /// Its class by its label, an index.
    pub actual: u32,
    /// Its class by the model: the most probable, the first of equal ones.
    pub predicted: u32,
    /// Of each class, in order.
    pub probabilities: Vec<f32>,
    /// Cross-entropy with the label, in nats.
    pub loss: f64,
}

impl Prediction {
    /// Whether it speaks of `classes` classes and of no other.
    pub fn fits(&self, classes: usize) -> bool {
        self.probabilities.len() == classes
            && [self.actual, self.predicted].iter().all(|class| (*class as usize) < classes)
    }

    /// Whether model and label disagree.
    pub fn is_wrong(&self) -> bool {
        self.actual != self.predicted
    }

    /// The probability of what was predicted.
    pub fn confidence(&self) -> f32 {
        self.probabilities[self.predicted as usize]
    }

    /// The probability of the label: what a review of top losses shows.
    pub fn probability_of_actual(&self) -> f32 {
        self.probabilities[self.actual as usize]
    }

    /// How far the best class is ahead of the second.
    pub fn margin(&self) -> f32 {
        let others = self.probabilities.iter().enumerate().filter(|(class, _)| *class != self.predicted as usize);
        self.confidence() - others.map(|(_, probability)| *probability).fold(0.0, f32::max)
    }
}

/// The `count` predictions with the highest losses, highest first; equal ones in the order of their ids.
pub fn top_losses(predictions: &[Prediction], count: usize) -> Vec<&Prediction> {
    first(predictions, count, |one, other| other.loss.total_cmp(&one.loss))
}

/// The `count` predictions whose two best classes are closest, closest first (fastai's `from_most_unsure`).
pub fn most_unsure(predictions: &[Prediction], count: usize) -> Vec<&Prediction> {
    first(predictions, count, |one, other| one.margin().total_cmp(&other.margin()))
}

fn first(
    predictions: &[Prediction],
    count: usize,
    order: impl Fn(&Prediction, &Prediction) -> std::cmp::Ordering,
) -> Vec<&Prediction> {
    let mut sorted: Vec<&Prediction> = predictions.iter().collect();
    sorted.sort_by(|one, other| order(one, other).then(one.id.cmp(&other.id)));
    sorted.truncate(count);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(id: u128, actual: u32, predicted: u32, probabilities: [f32; 3]) -> Prediction {
        let loss = -f64::from(probabilities[actual as usize]).ln();
        Prediction { id: Uuid::from_u128(id), actual, predicted, probabilities: probabilities.to_vec(), loss }
    }

    fn all() -> Vec<Prediction> {
        vec![
            prediction(100, 0, 0, [0.96, 0.02, 0.02]),
            prediction(99, 1, 1, [0.16, 0.44, 0.4]),
            prediction(98, 2, 1, [0.002, 0.996, 0.002]),
            prediction(97, 2, 0, [0.34, 0.33, 0.33]),
        ]
    }

    #[test]
    fn a_prediction_says_what_was_meant_and_what_was_guessed() {
        let all = all();
        assert!(!all[0].is_wrong() && all[2].is_wrong());
        assert!(all[2].confidence() > 0.99 && all[2].probability_of_actual() < 0.01);
        assert!((all[1].margin() - 0.04).abs() < 1e-6 && (all[3].margin() - 0.01).abs() < 1e-6);
        assert!(all[2].fits(3) && !all[2].fits(2) && !all[2].fits(4));
        assert!(!Prediction { predicted: 3, ..all[0].clone() }.fits(3));
    }

    #[test]
    fn the_worst_and_the_least_certain_come_first_by_id() {
        let all = all();
        let ids = |found: Vec<&Prediction>| found.iter().map(|prediction| prediction.id.as_u128()).collect::<Vec<_>>();
        assert_eq!(ids(top_losses(&all, 2)), [98, 97]);
        assert_eq!(ids(most_unsure(&all, 2)), [97, 99]);
        assert_eq!(ids(top_losses(&all, 9)).len(), 4);
    }
}
