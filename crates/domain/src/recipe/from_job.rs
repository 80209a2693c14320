//! The recipe that a train job means with its few numbers.
//!
//! - From scratch: one cycle, every group at the job's rate: there is nothing worth keeping.
//! - Pretrained: the body moves at a tenth of the head's rate (fastai's `slice(rate)`).
//! - Pretrained with frozen epochs: one cycle for the head at `slice(rate)`, then one for everything, from a hundredth of
//!   the rate in the early body to a tenth in the head, as in the lesson (3e-3, then 3e-5 to 3e-4).

use super::{Augmentation, Rate, Recipe, Stage};
use crate::spec::TrainRecipe;

impl From<&TrainRecipe> for Recipe {
    fn from(job: &TrainRecipe) -> Self {
        let augmentation = if job.augment { Augmentation::default() } else { Augmentation::none() };
        Self {
            architecture: job.architecture,
            stages: stages(job),
            image_size: job.image_size,
            batch_size: job.batch_size,
            weight_decay: job.weight_decay,
            augmentation,
            seed: job.seed,
            pretrained: job.pretrained.clone(),
            ..Self::default()
        }
    }
}

fn stages(job: &TrainRecipe) -> Vec<Stage> {
    let rate = job.max_learning_rate;
    match (job.pretrained.is_some(), job.frozen_epochs) {
        (false, 0) => vec![Stage::one_cycle(job.epochs, Rate::Flat(rate))],
        (true, 0) => vec![Stage::one_cycle(job.epochs, Rate::SliceTo(rate))],
        (_, frozen) => Recipe::lesson_stages(frozen, rate, job.epochs, rate / 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::PretrainedWeights;

    fn recipe(epochs: u32, frozen_epochs: u32, pretrained: bool) -> Recipe {
        let weights = PretrainedWeights { location: "/w".into(), sha256: "0".repeat(64) };
        let pretrained = pretrained.then_some(weights);
        Recipe::from(&TrainRecipe { epochs, frozen_epochs, pretrained, ..TrainRecipe::default() })
    }

    #[test]
    fn from_scratch_every_group_learns_at_the_same_rate() {
        let recipe = recipe(4, 0, false);
        assert_eq!(recipe.stages, [Stage::one_cycle(4, Rate::Flat(3e-3))]);
        recipe.check().unwrap();
    }

    #[test]
    fn pretrained_runs_train_the_head_first_and_the_early_body_least() {
        let recipe = recipe(2, 4, true);
        let rates = Rate::Slice(3e-3 / 100.0, 3e-3 / 10.0);
        let stages = [Stage::one_cycle(4, Rate::SliceTo(3e-3)).frozen(), Stage::one_cycle(2, rates)];
        assert_eq!(recipe.stages, stages);
        recipe.check().unwrap();
    }

    #[test]
    fn pretrained_runs_without_frozen_epochs_move_the_body_at_a_tenth() {
        assert_eq!(recipe(4, 0, true).stages, [Stage::one_cycle(4, Rate::SliceTo(3e-3))]);
    }

    #[test]
    fn frozen_epochs_from_scratch_are_refused() {
        assert!(recipe(1, 1, false).check().unwrap_err().to_string().contains("frozen_epochs"));
    }
}
