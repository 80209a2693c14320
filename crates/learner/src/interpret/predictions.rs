//! Logits as predictions of known pictures.

use ursa_domain::interpret::Prediction;
use uuid::Uuid;

use crate::LearnError;
use crate::classifier::softmax;
use crate::data::Examples;
use crate::evaluation::{largest, log_probability};

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
    let (id, predicted) = (Uuid::from_u128(id), largest(logits) as u32);
    Prediction { id, actual, predicted, probabilities: softmax(logits), loss }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_that_of_the_label_and_the_first_of_equal_classes_wins() {
        let wrong = predict(&[0.0, 6.0, 0.0], 98, 2);
        assert_eq!((wrong.id.as_u128(), wrong.predicted, wrong.is_wrong()), (98, 1, true));
        assert!((f64::from(wrong.probability_of_actual()).ln() + wrong.loss).abs() < 1e-5);
        let equal = predict(&[1.0, 1.0, 1.0], 97, 2);
        assert_eq!(equal.predicted, 0);
        assert!(equal.margin().abs() < 1e-6);
    }

    #[test]
    fn rows_that_do_not_match_the_pictures_are_refused() {
        let examples = Examples::new(1, &[0; 6], vec![0, 1], vec![7, 8]).unwrap();
        assert!(predictions(&[vec![0.0, 1.0]], &examples).is_err());
        let found = predictions(&[vec![0.0, 1.0], vec![0.0, 1.0]], &examples).unwrap();
        assert_eq!((found[0].id.as_u128(), found[1].id.as_u128(), found[0].is_wrong()), (7, 8, true));
    }
}
