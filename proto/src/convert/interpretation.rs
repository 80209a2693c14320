//! What a model gets wrong, as it is told.

use ursa_domain::interpret::{Bin, Calibration, Confused, Interpretation, Prediction};
use ursa_domain::proportion::{Proportion, interval};

use crate::v1;

impl From<Interpretation> for v1::Interpretation {
    /// Whose it is, of which side, and where its images came from, is for others to say.
    fn from(found: Interpretation) -> Self {
        Self {
            images: found.errors.of,
            errors: Some(found.errors.into()),
            class_errors: found.class_errors.into_iter().map(Into::into).collect(),
            confusion: found.confusion.counts.into_iter().map(|counts| v1::ConfusionRow { counts }).collect(),
            most_confused: found.most_confused.into_iter().map(Into::into).collect(),
            top_losses: found.top_losses.iter().map(Into::into).collect(),
            most_unsure: found.most_unsure.iter().map(Into::into).collect(),
            calibration: Some(found.calibration.into()),
            ..Self::default()
        }
    }
}

impl From<Proportion> for v1::ErrorShare {
    fn from(wrong: Proportion) -> Self {
        let (low, high) = wrong.interval();
        Self { wrong: wrong.count, of: wrong.of, low, high }
    }
}

impl From<Confused> for v1::ConfusedPair {
    fn from(pair: Confused) -> Self {
        Self { actual: pair.actual, predicted: pair.predicted, count: pair.count }
    }
}

impl From<&Prediction> for v1::JudgedImage {
    fn from(prediction: &Prediction) -> Self {
        Self {
            image_id: prediction.id.to_string(),
            actual: prediction.actual,
            predicted: prediction.predicted,
            probability: prediction.confidence(),
            probability_of_actual: prediction.probability_of_actual(),
            margin: prediction.margin(),
            loss: prediction.loss,
            url: String::new(),
        }
    }
}

impl From<Calibration> for v1::Calibration {
    fn from(calibration: Calibration) -> Self {
        let bin = |bin: &Bin| {
            let Bin { above, up_to, count, confidence, accuracy } = *bin;
            let (low, high) = interval(accuracy, count);
            v1::CalibrationBin { above, up_to, count, confidence, accuracy, low, high }
        };
        Self { error: calibration.error, bins: calibration.bins.iter().map(bin).collect() }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn everything_that_was_found_is_told() {
        let (id, probabilities) = (Uuid::from_u128(7), vec![0.25, 0.75]);
        let wrong = Prediction { id, actual: 0, predicted: 1, probabilities, loss: 1.386 };
        let told = v1::Interpretation::from(Interpretation::of(&[wrong], 2, 5));
        assert_eq!((told.images, told.confusion[0].counts.clone()), (1, vec![0, 1]));
        assert_eq!(told.most_confused, [v1::ConfusedPair { actual: 0, predicted: 1, count: 1 }]);
        let image = &told.top_losses[0];
        assert_eq!((image.image_id.as_str(), image.predicted), (id.to_string().as_str(), 1));
        assert!((image.margin - 0.5).abs() < 1e-6 && (image.probability_of_actual - 0.25).abs() < 1e-6);
        let errors = told.errors.unwrap();
        assert!(errors.wrong == 1 && errors.low > 0.2 && errors.high >= 1.0, "{errors:?}");
        assert_eq!(told.calibration.unwrap().bins.iter().map(|bin| bin.count).sum::<u64>(), 1);
    }
}
