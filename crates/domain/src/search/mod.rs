//! A search for good hyper-parameters: trials that are drawn from a space, most of which end early.

mod asha;
mod hyperparameter;
mod space;
mod trial;

use serde::{Deserialize, Serialize};

pub use asha::{Load, promote, rungs};
pub use hyperparameter::{Hyperparameter, Value};
pub use space::{Range, Settings, Space};
pub use trial::{Measured, Trial};

use crate::checkpoints::KeepCheckpoints;
use crate::recipe::Recipe;
use crate::setting::{InvalidSetting, require, within};
use crate::spec::Learning;

/// The most trials of one search.
pub const MAX_TRIALS: u32 = 1000;
const MAX_REDUCTION: u32 = 16;

/// Search for the hyper-parameters that a classifier learns best with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchSpec {
    /// What is trained. Its epochs are those of a trial that gets to the end, and its seed draws the trials, too.
    #[serde(flatten)]
    pub from: Learning,
    /// What is varied.
    pub space: Space,
    /// How many trials are drawn.
    pub trials: u32,
    /// Epochs of the first rung, after which all but the best end.
    pub min_epochs: u32,
    /// One of so many goes on to the next rung, which ends after so many times the epochs.
    pub reduction: u32,
    /// What is kept of the checkpoints of every part of a trial: the last one, from which the next part goes on.
    #[serde(default = "last_alone")]
    pub keep_checkpoints: KeepCheckpoints,
}

fn last_alone() -> KeepCheckpoints {
    KeepCheckpoints { last: 1, best: false, every: None }
}

impl SearchSpec {
    /// Searches `space` with sixteen trials, of which one in three goes on after one epoch.
    pub fn new(from: Learning, space: Space) -> Self {
        Self { from, space, trials: 16, min_epochs: 1, reduction: 3, keep_checkpoints: last_alone() }
    }

    /// Refuses a search that cannot be made, naming the key; `recipe` is the one it begins with, which was checked.
    pub(crate) fn check(&self, recipe: &Recipe) -> Result<(), InvalidSetting> {
        self.space.check(recipe)?;
        within("trials", self.trials, 1..=MAX_TRIALS)?;
        within("reduction", self.reduction, 2..=MAX_REDUCTION)?;
        within("min_epochs", self.min_epochs, 1..=u32::MAX)?;
        let (least, most) = (self.min_epochs, recipe.epochs());
        require(least <= most, "min_epochs", || {
            format!("is {least}, but a trial has {most} epochs at most: train more epochs, or lower it")
        })
    }

    /// After how many epochs each rung ends.
    pub fn rungs(&self) -> Vec<u32> {
        rungs(self.min_epochs, self.from.recipe.epochs(), self.reduction)
    }
}

/// The places of trials, the best first: who got farther is better, then who made fewer errors there.
pub fn ranked(trials: &[Trial]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..trials.len()).collect();
    places.sort_by(|&one, &other| trials[one].compare(&trials[other]));
    places
}

/// The best trial, if any has got to the end of a rung.
pub fn best(trials: &[Trial]) -> Option<&Trial> {
    trials.iter().min_by(|one, other| one.compare(other)).filter(|trial| !trial.results.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use crate::JobSpec;
    use crate::spec::SnapshotRef;

    use super::*;

    fn search() -> SearchSpec {
        let snapshot = SnapshotRef::FromJob("snapshot".into());
        let from = Learning { snapshot, recipe: Recipe::default(), model: None };
        let rates = Range::LogUniform(1e-4, 1e-2);
        SearchSpec::new(from, Space(BTreeMap::from([(Hyperparameter::MaxLearningRate, rates)])))
    }

    #[test]
    fn a_search_that_cannot_be_made_is_refused_with_the_key_named() {
        let refused = |change: fn(&mut SearchSpec)| {
            let mut spec = search();
            change(&mut spec);
            spec.check(&Recipe::default()).unwrap_err().key
        };
        assert_eq!(refused(|spec| spec.space = Space::default()), "space");
        assert_eq!(refused(|spec| spec.trials = 0), "trials");
        assert_eq!(refused(|spec| spec.trials = MAX_TRIALS + 1), "trials");
        assert_eq!(refused(|spec| spec.reduction = 1), "reduction");
        assert_eq!(refused(|spec| spec.min_epochs = 0), "min_epochs");
        assert_eq!(refused(|spec| spec.min_epochs = 5), "min_epochs");
        search().check(&Recipe::default()).unwrap();
    }

    #[test]
    fn whoever_got_farther_is_better_and_whoever_diverged_is_the_worst_of_those_who_got_as_far() {
        let trial = |number, errors: &[u64], diverged: bool| Trial {
            results: errors.iter().map(|&errors| Measured { epochs: 1, errors, validated: 9, loss: 1.0 }).collect(),
            diverged: diverged.then(|| "inf".to_owned()),
            ..Trial::new(number, Settings::new(), Uuid::nil())
        };
        let trials = [
            trial(1, &[], true),
            trial(2, &[3], false),
            trial(3, &[2, 5], false),
            trial(4, &[1], true),
            trial(5, &[2], false),
            trial(6, &[], false),
        ];
        let numbers: Vec<u32> = ranked(&trials).into_iter().map(|place| trials[place].number).collect();
        assert_eq!(numbers, [3, 5, 2, 4, 6, 1]);
        assert_eq!(best(&trials).unwrap().number, 3);
        assert_eq!(best(&trials[..1]), None);
    }

    #[test]
    fn a_search_that_was_stored_is_the_one_that_was_asked_for() {
        let spec = JobSpec::Search(search());
        let stored = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<JobSpec>(&stored).unwrap(), spec);
        let mut trial = Trial::new(1, search().space.draw(7, 1).remove(0), Uuid::from_u128(7));
        trial.results.push(Measured { epochs: 1, errors: 3, validated: 9, loss: 0.1 + 0.2 });
        let stored = serde_json::to_string(&trial).unwrap();
        assert_eq!(serde_json::from_str::<Trial>(&stored).unwrap(), trial);
    }

    #[test]
    fn a_trial_follows_the_recipe_with_its_settings() {
        let settings = search().space.draw(42, 1).remove(0);
        let recipe = Trial::new(1, settings.clone(), Uuid::nil()).recipe(&Recipe::default()).unwrap();
        let Value::Number(rate) = settings[&Hyperparameter::MaxLearningRate] else { panic!("{settings:?}") };
        assert!((recipe.peak_rate() / rate - 1.0).abs() < 1e-9);
    }
}
