//! One picture's answer, and the pictures one should look at first.

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::classifier::softmax;
use crate::data::Examples;
use crate::evaluation::{largest, log_probability};

/// What a model says of one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The image's id.
    pub id: u128,
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

/// One prediction for each of `examples`, from its row of `logits`.
pub fn predictions(logits: &[Vec<f32>], examples: &Examples) -> Result<Vec<Prediction>, LearnError> {
    if logits.len() != examples.len() {
        let reason = format!("{} rows of logits for {} pictures", logits.len(), examples.len());
        return Err(LearnError::UnusableData(reason));
    }
    let pictures = examples.ids().iter().zip(examples.labels());
    Ok(logits.iter().zip(pictures).map(|(row, (&id, &actual))| predict(row, id, actual)).collect())
}

fn predict(logits: &[f32], id: u128, actual: u32) -> Prediction {
    let loss = -log_probability(logits, actual as usize);
    Prediction { id, actual, predicted: largest(logits) as u32, probabilities: softmax(logits), loss }
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

    fn all() -> Vec<Prediction> {
        let rows = [[4.0, 0.0, 0.0], [0.0, 1.0, 0.9], [0.0, 6.0, 0.0], [1.0, 1.0, 1.0]];
        let labels = [0, 1, 2, 2];
        (0..4).map(|index| predict(&rows[index], 100 - index as u128, labels[index])).collect()
    }

    #[test]
    fn a_prediction_says_what_was_meant_and_what_was_guessed() {
        let all = all();
        assert!(!all[0].is_wrong() && all[2].is_wrong());
        assert!((f64::from(all[2].probability_of_actual()).ln() + all[2].loss).abs() < 1e-5);
        assert!(all[2].confidence() > 0.99 && all[2].probability_of_actual() < 0.01);
        assert_eq!(all[3].predicted, 0, "the first of equal ones");
        assert!(all[3].margin().abs() < 1e-6);
    }

    #[test]
    fn the_worst_and_the_least_certain_come_first_by_id() {
        let all = all();
        let ids = |found: Vec<&Prediction>| found.iter().map(|prediction| prediction.id).collect::<Vec<_>>();
        assert_eq!(ids(top_losses(&all, 2)), [98, 97]);
        assert_eq!(ids(most_unsure(&all, 2)), [97, 99]);
        assert_eq!(ids(top_losses(&all, 9)).len(), 4);
    }

    #[test]
    fn rows_that_do_not_match_the_pictures_are_refused() {
        let examples = Examples::new(1, &[0; 6], vec![0, 1], vec![7, 8]).unwrap();
        assert!(predictions(&[vec![0.0, 1.0]], &examples).is_err());
        let found = predictions(&[vec![0.0, 1.0], vec![0.0, 1.0]], &examples).unwrap();
        assert_eq!((found[0].id, found[1].id, found[0].is_wrong()), (7, 8, true));
    }
}
