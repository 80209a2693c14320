//! Stages: fits one after another, each with its cycle, its rates and what learns in it.

use serde::{Deserialize, Serialize};

use super::{Rate, Recipe};
use crate::network::GROUPS;
use crate::schedule::OneCycle;

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
}

/// A stage with everything decided that the data decide.
#[derive(Debug, Clone, PartialEq)]
pub struct StagePlan {
    /// Its first epoch, counted from 0 over the whole run.
    pub first_epoch: u32,
    /// How many.
    pub epochs: u32,
    /// Whether the body is frozen.
    pub frozen: bool,
    /// Peak learning rate of each group.
    pub rates: [f64; GROUPS],
    /// Rate and momentum of each of its batches.
    pub cycle: OneCycle,
    /// Side of the pictures, in pixels.
    pub image_size: u32,
}

impl Recipe {
    /// The stages that have epochs, in order; together they cover every epoch.
    pub fn plan(&self, batches_per_epoch: u64) -> Vec<StagePlan> {
        let mut first_epoch = 0;
        let mut plan = Vec::new();
        for stage in self.stages.iter().filter(|stage| stage.epochs > 0) {
            let epochs = stage.epochs;
            plan.push(StagePlan {
                first_epoch,
                epochs,
                frozen: stage.frozen,
                rates: stage.rate.of_groups(),
                cycle: self.numerics.cycle(stage, u64::from(epochs) * batches_per_epoch),
                image_size: stage.image_size.unwrap_or(self.image_size),
            });
            first_epoch += epochs;
        }
        plan
    }
}
