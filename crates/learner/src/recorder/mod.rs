//! What a run says of itself: every batch, every epoch. Pure.
//!
//! The training loss that fastai prints is an average over the whole fit, taken with dropout and augmentation on: after few
//! batches it is far above what the network can do (lesson 2, 0.11). So each epoch also measures a fixed sample of the
//! training pictures as it measures the validation side: nothing dropped, nothing altered, nothing averaged.

mod measurement;
mod smooth;

use serde::{Deserialize, Serialize};
pub use ursa_domain::proportion::Proportion;
use ursa_domain::recipe::GROUPS;

pub use measurement::Measurement;
pub use smooth::SmoothLoss;

/// What one batch gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchReport {
    /// Epoch it belongs to, from 0.
    pub epoch: u32,
    /// Batches done in the whole run, this one included.
    pub step: u64,
    /// Batches the whole run has.
    pub steps: u64,
    /// Loss of this batch, with dropout, augmentation, mixing and label smoothing as the recipe says.
    pub loss: f64,
    /// Debiased exponential average of the stage's losses (beta 0.98).
    pub smooth_loss: f64,
    /// Of the head, which has the highest in every recipe of fastai.
    pub learning_rate: f64,
    /// Of each group: early body, late body, head.
    pub learning_rates: [f64; GROUPS],
    /// Adam's beta1.
    pub momentum: f64,
    /// Pictures learned from.
    pub images: u64,
}

/// What one epoch gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochReport {
    /// From 0.
    pub epoch: u32,
    /// Batches done in the whole run.
    pub step: u64,
    /// The smoothed training loss after its last batch.
    pub train_loss: f64,
    /// A fixed sample of the training side, as many pictures as the validation side has, measured as that is.
    pub train: Measurement,
    /// The validation side.
    pub valid: Measurement,
}

impl EpochReport {
    /// Wrong on the validation side, as a fraction.
    pub fn error_rate(&self) -> f64 {
        self.valid.errors().rate()
    }
}

/// The epoch with the fewest errors, the earliest of equal ones.
pub(crate) fn best(epochs: &[EpochReport]) -> Option<&EpochReport> {
    epochs.iter().min_by_key(|report| report.valid.errors().count)
}
