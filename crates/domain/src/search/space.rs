//! Where a search looks, and what is drawn from there.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hyperparameter::{Hyperparameter, Value};
use crate::recipe::Recipe;
use crate::setting::{InvalidSetting, require};

/// What the hyper-parameters of one trial are set to.
pub type Settings = BTreeMap<Hyperparameter, Value>;

/// Draws in a row that may bring nothing new before there is taken to be nothing new.
const REDRAWS: u32 = 100;
/// What is drawn has so many digits: what is told is what was trained with.
const DIGITS: usize = 4;

/// What values a hyper-parameter may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// Any number between two, each as likely.
    Uniform(f64, f64),
    /// Any number between two above 0, each order of magnitude as likely.
    LogUniform(f64, f64),
    /// One of a list, each as likely.
    Choice(Vec<Value>),
}

/// The hyper-parameters that are varied, and the range of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(pub BTreeMap<Hyperparameter, Range>);

impl Space {
    /// Refuses a space in which there is nothing to look for, or a value with which `recipe` could not be followed.
    pub(super) fn check(&self, recipe: &Recipe) -> Result<(), InvalidSetting> {
        require(!self.0.is_empty(), "space", || {
            "is empty; name at least one hyper-parameter and its range, \
             for instance max_learning_rate: {log_uniform: [1e-4, 1e-2]}"
                .into()
        })?;
        let mixes = [Hyperparameter::MixUp, Hyperparameter::CutMix];
        require(!mixes.iter().all(|mix| self.0.contains_key(mix)), "space", || {
            "varies mix_up and cut_mix, but a recipe mixes in one way at most; leave one of them out".into()
        })?;
        for (parameter, range) in &self.0 {
            let check = |value: &Value| parameter.set(recipe, value).and_then(|recipe| recipe.check());
            let checked = range.check(*parameter).and_then(|()| range.ends().iter().try_for_each(check));
            checked.map_err(|invalid| {
                InvalidSetting::new(format!("space.{parameter}"), without_key(*parameter, &invalid))
            })?;
        }
        Ok(())
    }

    /// The settings of at most `count` trials, no two the same: fewer where the space has no more. The same space and seed
    /// give the same trials, and fewer of them are the first of more. Every value is decided by a hash of the seed, the draw
    /// and the hyper-parameter, whatever else is varied.
    pub fn draw(&self, seed: u64, count: u32) -> Vec<Settings> {
        let (mut drawn, mut known) = (Vec::new(), HashSet::new());
        let (mut number, mut misses) = (0, 0);
        while drawn.len() < count as usize && misses < REDRAWS {
            let settings = self.draw_one(seed, number);
            number += 1;
            if known.insert(format!("{settings:?}")) {
                drawn.push(settings);
                misses = 0;
            } else {
                misses += 1;
            }
        }
        drawn
    }

    fn draw_one(&self, seed: u64, number: u64) -> Settings {
        let value = |(parameter, range): (&Hyperparameter, &Range)| {
            (*parameter, range.at(share(seed, number, *parameter), parameter.is_whole()))
        };
        self.0.iter().map(value).collect()
    }
}

/// What is wrong, from the view of the hyper-parameter: the recipe may call it something else.
fn without_key(parameter: Hyperparameter, invalid: &InvalidSetting) -> String {
    if invalid.key == parameter.as_str() { invalid.reason.clone() } else { format!("cannot be followed: {invalid}") }
}

/// In [0, 1).
fn share(seed: u64, number: u64, parameter: Hyperparameter) -> f64 {
    let hash = Sha256::new_with_prefix(seed.to_le_bytes())
        .chain_update(number.to_le_bytes())
        .chain_update(parameter.as_str())
        .finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    // The 53 bits that a double holds.
    (u64::from_be_bytes(head) >> 11) as f64 / (1_u64 << 53) as f64
}

impl Range {
    fn check(&self, parameter: Hyperparameter) -> Result<(), InvalidSetting> {
        let refuse = |reason: String| Err(InvalidSetting::new(parameter.as_str(), reason));
        match self {
            Self::Uniform(low, high) | Self::LogUniform(low, high)
                if !(low.is_finite() && high.is_finite() && low < high) =>
            {
                refuse(format!("is from {low} to {high}, which is no range: the first number must be below the second"))
            }
            Self::LogUniform(low, _) if *low <= 0.0 => {
                refuse(format!("is log_uniform from {low}; it must begin above 0, or be uniform"))
            }
            Self::Choice(values) if values.is_empty() => refuse("has no choices; list at least one".into()),
            _ => Ok(()),
        }
    }

    /// The values that can be followed only if all can.
    fn ends(&self) -> Vec<Value> {
        match self {
            Self::Uniform(low, high) | Self::LogUniform(low, high) => vec![Value::Number(*low), Value::Number(*high)],
            Self::Choice(values) => values.clone(),
        }
    }

    /// The value that has `share` of the range below it.
    fn at(&self, share: f64, is_whole: bool) -> Value {
        let (low, high, number) = match self {
            Self::Choice(values) => {
                return values[((share * values.len() as f64) as usize).min(values.len() - 1)].clone();
            }
            Self::Uniform(low, high) if is_whole => (*low, *high, (low + share * (high - low + 1.0)).floor()),
            Self::Uniform(low, high) => (*low, *high, low + share * (high - low)),
            Self::LogUniform(low, high) => (*low, *high, low * (high / low).powf(share)),
        };
        let number = if is_whole { number.round() } else { tidy(number) };
        Value::Number(number.clamp(low, high))
    }
}

fn tidy(number: f64) -> f64 {
    format!("{number:.*e}", DIGITS - 1).parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space() -> Space {
        let words = ["fastai-v1", "fastai-v2"].map(|word| Value::Word(word.into()));
        Space(BTreeMap::from([
            (Hyperparameter::MaxLearningRate, Range::LogUniform(1e-4, 1e-1)),
            (Hyperparameter::LabelSmoothing, Range::Uniform(0.0, 0.2)),
            (Hyperparameter::BatchSize, Range::Uniform(8.0, 11.0)),
            (Hyperparameter::Numerics, Range::Choice(words.to_vec())),
        ]))
    }

    fn number(settings: &Settings, parameter: Hyperparameter) -> f64 {
        match settings[&parameter] {
            Value::Number(number) => number,
            Value::Word(_) => panic!("{settings:?}"),
        }
    }

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_trials_and_fewer_are_the_first_of_more(seed: u64, count in 1_u32..40) {
            let drawn = space().draw(seed, count);
            prop_assert_eq!(drawn.len(), count as usize);
            prop_assert_eq!(&drawn[..], &space().draw(seed, 40)[..count as usize]);
            let different: HashSet<_> = drawn.iter().map(|settings| format!("{settings:?}")).collect();
            prop_assert_eq!(different.len(), drawn.len());
        }

        #[test]
        fn what_is_drawn_can_be_followed(seed: u64) {
            for settings in space().draw(seed, 20) {
                let rate = number(&settings, Hyperparameter::MaxLearningRate);
                prop_assert!((1e-4..=1e-1).contains(&rate));
                prop_assert!(rate.to_string().trim_matches(['0', '.']).len() <= DIGITS + 1, "{}", rate);
                for (parameter, value) in &settings {
                    parameter.set(&Recipe::default(), value).unwrap().check().unwrap();
                }
            }
        }

        #[test]
        fn another_setting_in_the_space_leaves_the_others_as_they_are(seed: u64, trial in 0_u64..100) {
            let range = Range::LogUniform(1e-4, 1e-1);
            let alone = Space(BTreeMap::from([(Hyperparameter::MaxLearningRate, range)])).draw_one(seed, trial);
            let beside = space().draw_one(seed, trial);
            prop_assert_eq!(&alone[&Hyperparameter::MaxLearningRate], &beside[&Hyperparameter::MaxLearningRate]);
        }
    }

    #[test]
    fn orders_of_magnitude_are_as_likely_and_so_are_whole_numbers() {
        let drawn = space().draw(1, 3000);
        let share = |fits: &dyn Fn(&Settings) -> bool| drawn.iter().filter(|one| fits(one)).count() as f64 / 3000.0;
        let low = share(&|one| number(one, Hyperparameter::MaxLearningRate) < 1e-3);
        assert!((low - 1.0 / 3.0).abs() < 0.03, "{low}");
        for size in 8..=11 {
            let same = share(&|one| number(one, Hyperparameter::BatchSize).total_cmp(&f64::from(size)).is_eq());
            assert!((same - 0.25).abs() < 0.03, "{size}: {same}");
        }
    }

    #[test]
    fn a_space_with_few_points_is_searched_whole() {
        let sizes = [16.0, 32.0].map(Value::Number).to_vec();
        let smoothing = [0.0, 0.1, 0.2].map(Value::Number).to_vec();
        let space = Space(BTreeMap::from([
            (Hyperparameter::BatchSize, Range::Choice(sizes)),
            (Hyperparameter::LabelSmoothing, Range::Choice(smoothing)),
        ]));
        assert_eq!(space.draw(42, 16).len(), 6);
    }

    #[test]
    fn what_is_no_range_and_what_cannot_be_followed_is_refused_by_name() {
        use Hyperparameter::{BatchSize, Dropout, MaxLearningRate, Numerics, WeightDecay};
        let cases = [
            (WeightDecay, Range::Uniform(0.2, 0.1), "no range"),
            (WeightDecay, Range::Uniform(0.1, 0.1), "no range"),
            (WeightDecay, Range::Uniform(0.1, f64::INFINITY), "no range"),
            (WeightDecay, Range::LogUniform(f64::NAN, 0.1), "no range"),
            (WeightDecay, Range::LogUniform(0.0, 0.1), "above 0"),
            (WeightDecay, Range::Uniform(-0.1, 0.1), "0 at least"),
            (MaxLearningRate, Range::Uniform(0.0, 0.1), "must be above 0"),
            (Dropout, Range::Uniform(0.0, 1.0), "below 1"),
            (BatchSize, Range::Uniform(1.0, 64.0), "between 2 and"),
            (BatchSize, Range::Uniform(2.5, 64.0), "whole number"),
            (Numerics, Range::Uniform(1.0, 2.0), "choice"),
            (Numerics, Range::Choice(Vec::new()), "no choices"),
            (Numerics, Range::Choice(vec![Value::Word("fastai-v3".into())]), "fastai-v3"),
        ];
        for (parameter, range, said) in cases {
            let invalid = Space(BTreeMap::from([(parameter, range)])).check(&Recipe::default()).unwrap_err();
            assert_eq!(invalid.key, format!("space.{parameter}"), "{invalid}");
            assert!(invalid.to_string().contains(said), "{said}: {invalid}");
        }
        let invalid = Space::default().check(&Recipe::default()).unwrap_err();
        assert!(invalid.to_string().starts_with("space is empty"), "{invalid}");
        let both = [Hyperparameter::MixUp, Hyperparameter::CutMix].map(|mix| (mix, Range::Uniform(0.1, 1.0)));
        let invalid = Space(BTreeMap::from(both)).check(&Recipe::default()).unwrap_err();
        assert!(invalid.to_string().contains("leave one of them out"), "{invalid}");
        space().check(&Recipe::default()).unwrap();
    }

    #[test]
    fn a_space_in_words_is_read() {
        let json = r#"{"max_learning_rate": {"log_uniform": [1e-4, 1e-1]}, "label_smoothing": {"uniform": [0, 0.2]},
            "batch_size": {"uniform": [8, 11]}, "numerics": {"choice": ["fastai-v1", "fastai-v2"]}}"#;
        assert_eq!(serde_json::from_str::<Space>(json).unwrap(), space());
        assert_eq!(serde_json::from_str::<Space>(&serde_json::to_string(&space()).unwrap()).unwrap(), space());
        let unknown = serde_json::from_str::<Space>(r#"{"learning_rate": {"uniform": [0, 1]}}"#).unwrap_err();
        assert!(unknown.to_string().contains("learning_rate"), "{unknown}");
    }
}
