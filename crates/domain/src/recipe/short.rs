//! The stages that are meant with a few numbers.
//!
//! - From scratch: one cycle, every group at the same rate: there is nothing worth keeping.
//! - From weights: the body moves at a tenth of the head's rate (fastai's `slice(rate)`).
//! - From weights with frozen epochs: one cycle for the head at `slice(rate)`, then one for everything, from a hundredth of
//!   the rate in the early body to a tenth in the head, as in the lesson (3e-3, then 3e-5 to 3e-4).

use super::{Rate, Recipe, Stage};

/// Stages in short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Short {
    /// Epochs in which everything learns.
    pub epochs: u32,
    /// Epochs before that in which the body is frozen; only sensible with weights to start from.
    pub frozen_epochs: u32,
    /// Peak of the one-cycle schedule.
    pub max_learning_rate: f64,
}

impl Default for Short {
    fn default() -> Self {
        Self { epochs: 4, frozen_epochs: 0, max_learning_rate: 3e-3 }
    }
}

impl Short {
    /// The few numbers that say `stages`, if there are any.
    pub fn of(stages: &[Stage], from_weights: bool) -> Option<Self> {
        let (epochs, frozen_epochs, head) = match stages {
            [all] => (all.epochs, 0, all),
            [frozen, all] => (all.epochs, frozen.epochs, frozen),
            _ => return None,
        };
        let max_learning_rate = head.rate.of_groups().into_iter().fold(0.0, f64::max);
        let short = Self { epochs, frozen_epochs, max_learning_rate };
        (short.stages(from_weights) == stages).then_some(short)
    }

    /// The stages, given whether there are weights to start from.
    pub fn stages(self, from_weights: bool) -> Vec<Stage> {
        let Self { epochs, frozen_epochs, max_learning_rate: rate } = self;
        match (from_weights, frozen_epochs) {
            (false, 0) => vec![Stage::one_cycle(epochs, Rate::Flat(rate))],
            (true, 0) => vec![Stage::one_cycle(epochs, Rate::SliceTo(rate))],
            (_, frozen) => Recipe::lesson_stages(frozen, rate, epochs, rate / 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(epochs: u32, frozen_epochs: u32, from_weights: bool) -> Vec<Stage> {
        Short { epochs, frozen_epochs, ..Short::default() }.stages(from_weights)
    }

    #[test]
    fn from_scratch_every_group_learns_at_the_same_rate() {
        assert_eq!(stages(4, 0, false), [Stage::one_cycle(4, Rate::Flat(3e-3))]);
    }

    #[test]
    fn runs_from_weights_train_the_head_first_and_the_early_body_least() {
        let rates = Rate::Slice(3e-3 / 100.0, 3e-3 / 10.0);
        let expected = [Stage::one_cycle(4, Rate::SliceTo(3e-3)).frozen(), Stage::one_cycle(2, rates)];
        assert_eq!(stages(2, 4, true), expected);
    }

    #[test]
    fn runs_from_weights_without_frozen_epochs_move_the_body_at_a_tenth() {
        assert_eq!(stages(4, 0, true), [Stage::one_cycle(4, Rate::SliceTo(3e-3))]);
    }

    #[test]
    fn stages_that_few_numbers_say_are_recognised() {
        for (short, from_weights) in [
            (Short::default(), false),
            (Short::default(), true),
            (Short { epochs: 2, frozen_epochs: 4, max_learning_rate: 1e-3 }, true),
        ] {
            assert_eq!(Short::of(&short.stages(from_weights), from_weights), Some(short));
        }
        assert_eq!(Short::of(&Short::default().stages(true), false), None);
        assert_eq!(Short::of(&Recipe::fine_tune_stages(3, 2e-3), true), None);
    }

    #[test]
    fn frozen_epochs_from_scratch_are_refused() {
        let recipe = Recipe { stages: stages(1, 1, false), ..Recipe::default() };
        assert!(recipe.check().unwrap_err().to_string().contains("frozen_epochs"));
    }
}
