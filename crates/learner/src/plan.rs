//! What a recipe's stages come to, batch by batch. Pure.

use ursa_domain::recipe::{GROUPS, Recipe, Stage};

use crate::numerics;
use crate::schedule::OneCycle;

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

impl StagePlan {
    /// The stages of `recipe` that have epochs, in order; together they cover every epoch.
    pub fn all(recipe: &Recipe, batches_per_epoch: u64) -> Vec<Self> {
        let mut first_epoch = 0;
        let mut plan = Vec::new();
        for stage in recipe.stages.iter().filter(|stage| stage.epochs > 0) {
            plan.push(Self::of(stage, recipe, first_epoch, batches_per_epoch));
            first_epoch += stage.epochs;
        }
        plan
    }

    fn of(stage: &Stage, recipe: &Recipe, first_epoch: u32, batches_per_epoch: u64) -> Self {
        let batches = u64::from(stage.epochs) * batches_per_epoch;
        Self {
            first_epoch,
            epochs: stage.epochs,
            frozen: stage.frozen,
            rates: stage.rate.of_groups(),
            cycle: numerics::cycle(recipe, stage, batches),
            image_size: stage.image_size.unwrap_or(recipe.image_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use ursa_domain::recipe::{Momentum, Rate};

    use super::*;

    fn plan(stages: Vec<Stage>) -> Vec<StagePlan> {
        StagePlan::all(&Recipe { stages, ..Recipe::default() }, 7)
    }

    #[test]
    fn a_stage_has_its_batches_rates_and_size() {
        let stage = Stage { image_size: Some(128), ..Stage::one_cycle(4, Rate::Flat(3e-3)) };
        let plan = plan(vec![stage, Stage::one_cycle(1, Rate::SliceTo(1e-3))]);
        assert_eq!((plan[0].rates, plan[0].cycle.batches, plan[0].image_size), ([3e-3; 3], 28, 128));
        assert_eq!((plan[1].rates, plan[1].cycle.batches, plan[1].image_size), ([1e-4, 1e-4, 1e-3], 7, 224));
    }

    #[test]
    fn every_cycle_has_the_momentum_of_the_recipe() {
        let momentum = Momentum { high: 0.9, low: 0.8 };
        let recipe = Recipe { stages: Recipe::lesson_stages(4, 3e-3, 2, 3e-5), momentum, ..Recipe::default() };
        assert!(StagePlan::all(&recipe, 7).iter().all(|stage| stage.cycle.momentum == momentum));
    }

    #[test]
    fn stages_follow_each_other_and_empty_ones_are_left_out() {
        let lesson = plan(Recipe::lesson_stages(4, 3e-3, 2, 3e-5));
        assert_eq!((lesson[0].first_epoch, lesson[0].epochs, lesson[0].frozen), (0, 4, true));
        assert_eq!((lesson[1].first_epoch, lesson[1].epochs, lesson[1].frozen), (4, 2, false));
        let frozen_only = plan(Recipe::lesson_stages(4, 3e-3, 0, 3e-5));
        assert_eq!(frozen_only, lesson[..1]);
    }
}
