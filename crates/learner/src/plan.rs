//! The stages of a run and the learning rates of each parameter group, from the recipe. Pure.
//!
//! - From scratch: one cycle, every group at the recipe's rate: there is nothing worth keeping.
//! - Pretrained: the body moves at a tenth of the head's rate (fastai's `slice(rate)`).
//! - Pretrained with frozen epochs: one cycle for the head at `slice(rate)`, then one for everything, from a hundredth of
//!   the rate in the early body to a tenth in the head, as in the lesson (3e-3, then 3e-5 to 3e-4).

use ursa_domain::spec::TrainRecipe;

use crate::LearnError;
use crate::network::GROUPS;

/// The network halves a picture five times; beyond the upper end pictures no longer fit a machine's memory.
const IMAGE_SIZES: std::ops::RangeInclusive<u32> = 32..=1024;

/// One fit: epochs that share an optimizer and a cycle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stage {
    /// Its first epoch, counted from 0 over the whole run.
    pub first_epoch: u32,
    /// How many.
    pub epochs: u32,
    /// Whether only the head and the body's normalisation learn.
    pub frozen: bool,
    /// Peak learning rate of each parameter group.
    pub rates: [f64; GROUPS],
}

/// The stages of a run, in order; together they cover every epoch.
pub(crate) fn stages(recipe: &TrainRecipe) -> Result<Vec<Stage>, LearnError> {
    check_recipe(recipe)?;
    let rate = recipe.max_learning_rate;
    let behind_head = [rate / 10.0, rate / 10.0, rate];
    let stage = |first_epoch, epochs, frozen, rates| Stage { first_epoch, epochs, frozen, rates };
    Ok(match (recipe.pretrained.is_some(), recipe.frozen_epochs) {
        (false, _) => vec![stage(0, recipe.epochs, false, [rate; GROUPS])],
        (true, 0) => vec![stage(0, recipe.epochs, false, behind_head)],
        (true, frozen) => {
            let mut stages = vec![stage(0, frozen, true, behind_head)];
            if recipe.epochs > 0 {
                stages.push(stage(frozen, recipe.epochs, false, spread(rate / 100.0, rate / 10.0)));
            }
            stages
        }
    })
}

/// Evenly spaced in the logarithm.
fn spread(low: f64, high: f64) -> [f64; GROUPS] {
    std::array::from_fn(|group| low * (high / low).powf(group as f64 / (GROUPS - 1) as f64))
}

/// Refuses a recipe that cannot be followed, naming the field. [`crate::Training::new`] asks too; this asks before any work.
pub fn check_recipe(recipe: &TrainRecipe) -> Result<(), LearnError> {
    let refuse = |reason: String| Err(LearnError::InvalidRecipe(reason));
    let positive = |value: f64| value.is_finite() && value > 0.0;
    if !positive(recipe.max_learning_rate) {
        return refuse(format!("max_learning_rate is {}, it must be above 0", recipe.max_learning_rate));
    }
    if recipe.weight_decay != 0.0 && !positive(recipe.weight_decay) {
        return refuse(format!("weight_decay is {}, it must not be negative", recipe.weight_decay));
    }
    if recipe.batch_size < 2 {
        return refuse("batch_size must be at least 2: batch normalisation needs several pictures".into());
    }
    if !IMAGE_SIZES.contains(&recipe.image_size) {
        let (least, most) = IMAGE_SIZES.into_inner();
        return refuse(format!("image_size is {}, it must be from {least} to {most} pixels", recipe.image_size));
    }
    if recipe.frozen_epochs > 0 && recipe.pretrained.is_none() {
        return refuse("frozen_epochs without pretrained weights would freeze a random body".into());
    }
    if recipe.epochs == 0 && recipe.frozen_epochs == 0 {
        return refuse("there is no epoch to train".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ursa_domain::spec::PretrainedWeights;

    use super::*;

    fn recipe(epochs: u32, frozen_epochs: u32, pretrained: bool) -> TrainRecipe {
        let weights = PretrainedWeights { location: "/w".into(), sha256: "0".into() };
        TrainRecipe { epochs, frozen_epochs, pretrained: pretrained.then_some(weights), ..TrainRecipe::default() }
    }

    #[test]
    fn from_scratch_every_group_learns_at_the_same_rate() {
        let stages = stages(&recipe(4, 0, false)).unwrap();
        assert_eq!(stages, [Stage { first_epoch: 0, epochs: 4, frozen: false, rates: [3e-3; 3] }]);
    }

    #[test]
    fn pretrained_runs_train_the_head_first_and_the_early_body_least() {
        let stages = stages(&recipe(2, 4, true)).unwrap();
        assert_eq!((stages[0].first_epoch, stages[0].epochs, stages[0].frozen), (0, 4, true));
        assert_eq!((stages[1].first_epoch, stages[1].epochs, stages[1].frozen), (4, 2, false));
        for (found, expected) in stages[1].rates.iter().zip([3e-5, 9.487e-5, 3e-4]) {
            assert!((found / expected - 1.0).abs() < 1e-3, "{:?}", stages[1].rates);
        }
    }

    #[test]
    fn impossible_recipes_are_refused_with_the_field_named() {
        let with = |change: fn(&mut TrainRecipe)| {
            let mut recipe = recipe(1, 0, false);
            change(&mut recipe);
            stages(&recipe).unwrap_err().to_string()
        };
        assert!(with(|recipe| recipe.max_learning_rate = 0.0).contains("max_learning_rate"));
        assert!(with(|recipe| recipe.max_learning_rate = f64::NAN).contains("max_learning_rate"));
        assert!(with(|recipe| recipe.weight_decay = -1.0).contains("weight_decay"));
        assert!(with(|recipe| recipe.batch_size = 1).contains("batch_size"));
        assert!(with(|recipe| recipe.image_size = 8).contains("image_size"));
        assert!(with(|recipe| recipe.frozen_epochs = 1).contains("frozen_epochs"));
        assert!(with(|recipe| recipe.epochs = 0).contains("epoch"));
    }
}
