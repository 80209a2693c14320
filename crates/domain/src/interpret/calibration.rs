//! Whether a model is right as often as it says (Guo et al. 2017).

use serde::{Deserialize, Serialize};

use super::Prediction;

/// Predictions of similar confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Confidence above this,
    pub above: f64,
    /// up to this.
    pub up_to: f64,
    /// How many.
    pub count: u64,
    /// Their mean confidence; 0 of none.
    pub confidence: f64,
    /// The share that is right; 0 of none.
    pub accuracy: f64,
}

/// Confidence against accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Of equal width, from 0 to 1.
    pub bins: Vec<Bin>,
    /// Expected calibration error: the mean distance of confidence and accuracy, each bin by its count.
    pub error: f64,
}

impl Calibration {
    /// Of `predictions`, in `bins` bins (15 are usual).
    pub fn of(predictions: &[Prediction], bins: usize) -> Self {
        let width = 1.0 / bins.max(1) as f64;
        let bins: Vec<Bin> = (0..bins.max(1)).map(|index| bin(predictions, index as f64 * width, width)).collect();
        let gap = |bin: &Bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs();
        let error = bins.iter().map(gap).sum::<f64>() / predictions.len().max(1) as f64;
        Self { bins, error }
    }
}

fn bin(predictions: &[Prediction], above: f64, width: f64) -> Bin {
    let up_to = above + width;
    // No confidence is 0, and rounding must not lose one of exactly 1.
    let inside = |prediction: &&Prediction| {
        let confidence = f64::from(prediction.confidence());
        confidence > above && (confidence <= up_to || up_to > 1.0 - width / 2.0)
    };
    let inside: Vec<&Prediction> = predictions.iter().filter(inside).collect();
    let mean = |of: fn(&Prediction) -> f64| {
        inside.iter().map(|prediction| of(prediction)).sum::<f64>() / inside.len().max(1) as f64
    };
    Bin {
        above,
        up_to,
        count: inside.len() as u64,
        confidence: mean(|prediction| f64::from(prediction.confidence())),
        accuracy: mean(|prediction| f64::from(u8::from(!prediction.is_wrong()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sure(confidence: f32, right: bool) -> Prediction {
        let probabilities = vec![confidence, 1.0 - confidence];
        Prediction { id: uuid::Uuid::nil(), actual: u32::from(!right), predicted: 0, probabilities, loss: 0.0 }
    }

    #[test]
    fn the_error_is_the_mean_gap_by_count() {
        let predictions = [sure(0.9, true), sure(0.9, false), sure(0.6, true), sure(1.0, true)];
        let calibration = Calibration::of(&predictions, 10);
        assert_eq!(calibration.bins.iter().map(|bin| bin.count).sum::<u64>(), 4);
        // Two at 0.9 of which half are right, one at 0.6, one at 1.
        let expected = (2.0 * 0.4 + 0.4 + 0.0) / 4.0;
        let ten: f64 =
            calibration.bins.iter().map(|b| b.count as f64 * (b.confidence - b.accuracy).abs()).sum::<f64>() / 4.0;
        assert!((calibration.error - ten).abs() < 1e-12);
        assert!((calibration.error - expected).abs() < 0.01, "{calibration:?}");
    }

    #[test]
    fn who_is_always_right_and_says_so_is_calibrated() {
        assert!(Calibration::of(&[sure(1.0, true), sure(1.0, true)], 15).error < 1e-9);
        assert!(Calibration::of(&[], 15).error.abs() < 1e-12);
        assert_eq!(Calibration::of(&[sure(1.0, true)], 15).bins[14].count, 1);
    }
}
