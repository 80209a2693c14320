//! Stages: fits one after another, each with its cycle, its rates and what learns in it.

use serde::{Deserialize, Serialize};

use super::Rate;
use super::check::IMAGE_SIZES;
use crate::setting::{InvalidSetting, at_least, require, within};

/// One stage trains this many epochs at most.
const MAX_EPOCHS: u32 = 10_000;

/// One `fit_one_cycle`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How many epochs.
    pub epochs: u32,
    /// Peak learning rates.
    pub rate: Rate,
    /// Whether only the head and the body's normalisation learn (fastai's `freeze`, `train_bn`). Where this changes from one
    /// stage to the next the optimizer starts afresh, else it goes on.
    #[serde(default)]
    pub frozen: bool,
    /// Share of the batches in which the rate rises, in (0, 1); the numerics decide where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up_share: Option<f64>,
    /// The cycle begins at the peak divided by this (fastai's `div`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_divisor: Option<f64>,
    /// The cycle ends at the peak divided by this (fastai's `div_final`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_divisor: Option<f64>,
    /// Side of the pictures in this stage, in pixels: smaller first is progressive resizing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<u32>,
}

impl Stage {
    /// A stage in which everything learns, with the numerics' own cycle.
    pub fn one_cycle(epochs: u32, rate: Rate) -> Self {
        let (warm_up_share, start_divisor, final_divisor, image_size) = (None, None, None, None);
        Self { epochs, rate, frozen: false, warm_up_share, start_divisor, final_divisor, image_size }
    }

    /// The same with the body frozen.
    #[must_use]
    pub fn frozen(self) -> Self {
        Self { frozen: true, ..self }
    }

    /// What can be said of a stage alone; see [`super::Recipe::check`] for the rest.
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        within("epochs", self.epochs, 0..=MAX_EPOCHS)?;
        self.rate.check()?;
        if let Some(share) = self.warm_up_share {
            let inside = share > 0.0 && share < 1.0;
            require(inside, "warm_up_share", || format!("is {share}; it must be above 0 and below 1"))?;
        }
        for (key, divisor) in [("start_divisor", self.start_divisor), ("final_divisor", self.final_divisor)] {
            divisor.map_or(Ok(()), |divisor| at_least(key, divisor, 1.0))?;
        }
        self.image_size.map_or(Ok(()), |size| within("image_size", size, IMAGE_SIZES))
    }
}
