//! The loss that fastai prints.

use serde::{Deserialize, Serialize};

/// How much of the old average a new loss leaves.
const BETA: f64 = 0.98;

/// A debiased exponential average.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmoothLoss {
    average: f64,
    count: u64,
    #[serde(default)]
    lowest: Option<f64>,
}

impl SmoothLoss {
    /// Takes one more loss in.
    pub fn add(&mut self, loss: f64) {
        self.average = BETA * self.average + (1.0 - BETA) * loss;
        self.count += 1;
        let value = self.value();
        self.lowest = Some(self.lowest.map_or(value, |lowest| lowest.min(value)));
    }

    /// The lowest that it was; `None` of nothing.
    pub fn lowest(&self) -> Option<f64> {
        self.lowest
    }

    /// The average so far; 0 of nothing.
    pub fn value(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.average / (1.0 - BETA.powf(self.count as f64)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_four_epochs_of_seven_batches_the_first_still_weighs_a_fifth() {
        let mut smooth = SmoothLoss::default();
        for batch in 0..28 {
            smooth.add(if batch < 7 { 1.0 } else { 0.0 });
        }
        assert!((smooth.value() - 0.20).abs() < 0.01, "{}", smooth.value());
        let lowest = smooth.value();
        smooth.add(9.0);
        assert_eq!(smooth.lowest(), Some(lowest));
        let mut constant = SmoothLoss::default();
        (0..3).for_each(|_| constant.add(2.5));
        assert!((constant.value() - 2.5).abs() < 1e-12);
    }
}
