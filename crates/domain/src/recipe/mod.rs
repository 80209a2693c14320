//! The recipe: everything that decides how a network learns, as data.
//!
//! The coordinator stores and checks it, the wire carries it, the learner follows it: what its words mean for a network is
//! said there. A recipe read from JSON has every default filled in and no key that is not known here; the same recipe, data
//! and seed give the same network.

mod architecture;
mod augmentation;
mod balance;
mod check;
mod mix;
mod momentum;
mod numerics;
mod pretrained;
mod rate;
mod rate_test;
mod short;
mod stage;
mod stored;

use serde::{Deserialize, Serialize};

pub use architecture::Architecture;
pub use augmentation::Augmentation;
pub use balance::Balance;
pub use mix::Mix;
pub use momentum::Momentum;
pub use numerics::Numerics;
pub use pretrained::PretrainedWeights;
pub use rate::{GROUPS, Rate};
pub use rate_test::{Method, RateEnd, RateTest};
pub use short::Short;
pub use stage::Stage;
pub use stored::stored;

use crate::setting::InvalidSetting;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// The network.
    pub architecture: Architecture,
    /// Whose constants: optimizer, schedule, head.
    pub numerics: Numerics,
    /// What is done one after another.
    pub stages: Vec<Stage>,
    /// Side of the square the network sees, in pixels, where a stage says nothing else.
    pub image_size: u32,
    /// Pictures per step; lowered to the training side's size when that is smaller.
    pub batch_size: u32,
    /// Pictures computed at once, at most: gradients are summed up over the parts of a batch, so that less memory is needed.
    /// `None` is the whole batch, and parts where memory does not hold it.
    pub micro_batch: Option<u32>,
    /// Decoupled weight decay: a parameter loses this share times the learning rate at each step.
    pub weight_decay: f64,
    /// Momentum over each cycle.
    pub momentum: Momentum,
    /// Share of activations dropped before the last layer, half as many before the one before it (fastai's `ps`).
    pub dropout: f64,
    /// Share of the target spread evenly over all classes (Szegedy et al. 2015).
    pub label_smoothing: f64,
    /// Random variations of training pictures.
    pub augmentation: Augmentation,
    /// Whether pictures of a batch are mixed.
    pub mix: Option<Mix>,
    /// What is done about rare classes.
    pub balance: Balance,
    /// Decay per step of an exponential average of the weights, which is then what is measured and kept; `None` is off.
    pub weight_average: Option<f64>,
    /// Seeds initialisation, order, augmentation, mixing and dropout.
    pub seed: u64,
    /// Weights to start from; `None` is from scratch.
    pub pretrained: Option<PretrainedWeights>,
    /// Whether the weights to start from are a model of ours with the same classes, whose head is kept.
    pub keep_head: bool,
    /// Whether a run ends after an epoch whose losses, in training and in validation, show that it is lost. One whose loss is
    /// no number always does.
    pub stop_early: bool,
    /// Whether a GPU, too, gives the same bits each time, which makes it slower; a CPU always does.
    pub deterministic: bool,
}

/// Why a text is no recipe that can be followed.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// Not the JSON of a recipe: the message names the key.
    #[error("this is no recipe: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// One of its settings.
    #[error("the recipe cannot be followed: {0}")]
    Invalid(#[from] InvalidSetting),
}

impl Default for Recipe {
    /// fastai v1's `cnn_learner(…).fit_one_cycle(4)`.
    fn default() -> Self {
        Self {
            architecture: Architecture::default(),
            numerics: Numerics::default(),
            stages: vec![Stage::one_cycle(4, Rate::SliceTo(3e-3))],
            image_size: 224,
            batch_size: 64,
            micro_batch: None,
            weight_decay: 1e-2,
            momentum: Momentum::default(),
            dropout: 0.5,
            label_smoothing: 0.0,
            augmentation: Augmentation::default(),
            mix: None,
            balance: Balance::None,
            weight_average: None,
            seed: 42,
            pretrained: None,
            keep_head: false,
            stop_early: true,
            deterministic: false,
        }
    }
}

impl Recipe {
    /// The `base_rate` of fastai v2's `fine_tune`, where none is given.
    pub const FINE_TUNE_RATE: f64 = 2e-3;

    /// Reads a recipe and checks it; the error names the key.
    pub fn from_json(json: &str) -> Result<Self, RecipeError> {
        let recipe: Self = serde_json::from_str(json)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The lesson's two stages: the head alone at `slice(rate)`, then everything at `slice(found, rate / 10)`, where
    /// `found` is what the learning-rate finder says after the first stage (lesson 2, 26–34).
    pub fn lesson_stages(frozen_epochs: u32, rate: f64, epochs: u32, found: f64) -> Vec<Stage> {
        vec![
            Stage::one_cycle(frozen_epochs, Rate::SliceTo(rate)).frozen(),
            Stage::one_cycle(epochs, Rate::Slice(found, rate / 10.0)),
        ]
    }

    /// The stages of fastai v2's `fine_tune(epochs, base_rate)`: one frozen epoch that warms up to its end, then everything
    /// at a half of the rate, the early body at a hundredth of that.
    pub fn fine_tune_stages(epochs: u32, base_rate: f64) -> Vec<Stage> {
        let (half, rate_ratio) = (base_rate / 2.0, 100.0);
        let frozen = Stage::one_cycle(1, Rate::SliceTo(base_rate)).frozen();
        let all = Stage::one_cycle(epochs, Rate::Slice(half / rate_ratio, half));
        vec![
            Stage { warm_up_share: Some(0.99), ..frozen },
            Stage { warm_up_share: Some(0.3), start_divisor: Some(5.0), ..all },
        ]
    }

    /// Epochs of all stages.
    pub fn epochs(&self) -> u32 {
        self.stages.iter().map(|stage| stage.epochs).sum()
    }

    /// The highest rate that any group is trained at.
    pub fn peak_rate(&self) -> f64 {
        self.stages.iter().flat_map(|stage| stage.rate.of_groups()).fold(0.0, f64::max)
    }

    /// The same recipe, going on from a model of ours in place of other weights.
    #[must_use]
    pub fn going_on_from(&self, location: &str, sha256: &str) -> Self {
        let weights = PretrainedWeights { location: location.to_owned(), sha256: sha256.to_owned() };
        Self { pretrained: Some(weights), keep_head: true, ..self.clone() }
    }

    /// The same recipe with its rates scaled together so that the highest is `rate`.
    #[must_use]
    pub fn with_peak_rate(&self, rate: f64) -> Self {
        self.with_rates_scaled(rate / self.peak_rate())
    }

    /// The place of the last stage that trains anything, which is what a test of rates looks at.
    pub fn last_stage(&self) -> Option<usize> {
        self.stages.iter().rposition(|stage| stage.epochs > 0)
    }

    /// The same recipe with one of its last stage's rates replaced by `rate`, which is what a test of rates has found.
    #[must_use]
    pub fn with_found_rate(&self, rate: f64, end: RateEnd) -> Self {
        let Some(last) = self.last_stage() else { return self.clone() };
        let rates = self.stages[last].rate.of_groups();
        match end {
            RateEnd::Highest => self.with_rates_scaled(rate / rates.into_iter().fold(0.0, f64::max)),
            RateEnd::Lowest => {
                let mut recipe = self.clone();
                let [.., head] = rates;
                // No head learns slower than the body.
                recipe.stages[last].rate = Rate::Slice(rate, head.max(rate));
                recipe
            }
        }
    }

    /// The same recipe with the rates of another one and its word on when to stop, as far as it has the same stages.
    #[must_use]
    pub fn with_rates_of(&self, other: &Self) -> Self {
        let mut recipe = Self { stop_early: other.stop_early, ..self.clone() };
        for (stage, other) in recipe.stages.iter_mut().zip(&other.stages) {
            stage.rate = other.rate;
        }
        recipe
    }

    /// The same recipe with every learning rate multiplied by `factor`.
    #[must_use]
    pub fn with_rates_scaled(&self, factor: f64) -> Self {
        let scaled = |stage: &Stage| Stage { rate: stage.rate.scaled(factor), ..stage.clone() };
        Self { stages: self.stages.iter().map(scaled).collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_found_rate_is_the_highest_of_the_last_stage_or_where_its_slice_begins() {
        let recipe = Recipe { stages: Recipe::lesson_stages(4, 3e-3, 2, 3e-5), ..Recipe::default() };
        let found = |rate, end| recipe.with_found_rate(rate, end).stages;
        let [first, last] = &found(6e-4, RateEnd::Highest)[..] else { panic!() };
        for (rate, expected) in [(first.rate, [6e-4, 6e-4, 6e-3]), (last.rate, [6e-5, 1.897e-4, 6e-4])] {
            for (found, expected) in rate.of_groups().into_iter().zip(expected) {
                assert!((found / expected - 1.0).abs() < 1e-3, "{rate:?}");
            }
        }
        assert_eq!(found(1e-5, RateEnd::Lowest), Recipe::lesson_stages(4, 3e-3, 2, 1e-5));
        assert_eq!(
            found(1e-2, RateEnd::Lowest)[1].rate,
            Rate::Slice(1e-2, 1e-2),
            "no head learns slower than the body"
        );
    }

    #[test]
    fn a_found_rate_is_that_of_the_last_stage_that_trains() {
        let stages = [(4, 3e-3), (2, 1e-3), (0, 1e-5)].map(|(epochs, rate)| Stage::one_cycle(epochs, Rate::Flat(rate)));
        let recipe = Recipe { stages: stages.to_vec(), ..Recipe::default() };
        assert_eq!(recipe.last_stage(), Some(1));
        let rates = |end| recipe.with_found_rate(1e-2, end).stages.into_iter().map(|stage| stage.rate.of_groups()[2]);
        for (found, expected) in rates(RateEnd::Highest).zip([3e-2, 1e-2, 1e-4]) {
            assert!((found / expected - 1.0).abs() < 1e-9, "{found}");
        }
        assert_eq!(rates(RateEnd::Lowest).collect::<Vec<_>>(), [3e-3, 1e-2, 1e-5]);
    }

    #[test]
    fn an_empty_object_is_the_lessons_recipe() {
        let recipe = Recipe::from_json("{}").unwrap();
        assert_eq!(recipe, Recipe::default());
        assert_eq!(Recipe::from_json(&serde_json::to_string(&recipe).unwrap()).unwrap(), recipe);
    }

    #[test]
    fn a_recipe_in_words_is_read() {
        let json = r#"{
            "architecture": "resnet50", "numerics": "fastai-v2", "label_smoothing": 0.1, "weight_average": 0.99,
            "mix": {"mix_up": {"alpha": 0.4}}, "balance": "oversample", "augmentation": {"max_rotate": 5},
            "momentum": {"high": 0.9},
            "stages": [{"epochs": 1, "rate": {"slice_to": 2e-3}},
                       {"epochs": 3, "rate": {"slice": [1e-5, 1e-3]}, "image_size": 192}]
        }"#;
        let recipe = Recipe::from_json(json).unwrap();
        assert_eq!(recipe.architecture, Architecture::ResNet50);
        assert_eq!(recipe.stages[1].rate, Rate::Slice(1e-5, 1e-3));
        assert_eq!(recipe.augmentation, Augmentation { max_rotate: 5.0, ..Augmentation::default() });
        assert_eq!(recipe.momentum, Momentum { high: 0.9, low: 0.85 });
        assert_eq!(recipe.epochs(), 4);
    }

    #[test]
    fn unknown_keys_are_refused_at_every_depth_by_name() {
        for (json, key) in [
            (r#"{"learning_rate": 1}"#, "learning_rate"),
            (r#"{"stages": [{"epochs": 1, "rate": {"flat": 1e-3}, "freeze": true}]}"#, "freeze"),
            (r#"{"stages": [{"epochs": 1, "rate": {"max": 1e-3}}]}"#, "max"),
            (r#"{"augmentation": {"cutout": 1}}"#, "cutout"),
            (r#"{"mix": {"mix_up": {"beta": 1}}}"#, "beta"),
            (r#"{"momentum": {"middle": 0.9}}"#, "middle"),
            (r#"{"pretrained": {"location": "/w", "sha256": "00", "sha1": "00"}}"#, "sha1"),
            (r#"{"numerics": "fastai-v3"}"#, "fastai-v3"),
            (r#"{"architecture": "vgg16"}"#, "vgg16"),
        ] {
            let error = Recipe::from_json(json).unwrap_err().to_string();
            assert!(error.contains(key), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_read_is_also_checked() {
        let error = Recipe::from_json(r#"{"stages": [{"epochs": 1, "rate": {"flat": 0}}]}"#).unwrap_err();
        assert!(matches!(&error, RecipeError::Invalid(invalid) if invalid.key == "stages[0].rate"), "{error}");
    }

    #[test]
    fn words_are_the_same_in_json() {
        fn same<T: Copy + Serialize + ToString>(words: &[T]) {
            for word in words {
                assert_eq!(serde_json::to_value(word).unwrap(), word.to_string());
            }
        }
        same(Architecture::ALL);
        same(Numerics::ALL);
        same(Balance::ALL);
        same(Method::ALL);
        same(RateEnd::ALL);
    }

    #[test]
    fn the_stages_of_the_lesson_and_of_fine_tune_are_those_of_fastai() {
        let [first, second] = &Recipe::lesson_stages(4, 3e-3, 2, 3e-5)[..] else { panic!() };
        assert!(first.frozen && !second.frozen);
        assert_eq!(first.rate, Rate::SliceTo(3e-3));
        let rates = second.rate.of_groups();
        for (found, expected) in rates.iter().zip([3e-5, 9.487e-5, 3e-4]) {
            assert!((found / expected - 1.0).abs() < 1e-3, "{rates:?}");
        }
        let [first, second] = &Recipe::fine_tune_stages(3, 2e-3)[..] else { panic!() };
        assert_eq!((first.frozen, first.epochs, first.warm_up_share), (true, 1, Some(0.99)));
        assert_eq!((second.epochs, second.warm_up_share, second.start_divisor), (3, Some(0.3), Some(5.0)));
        assert_eq!(second.rate, Rate::Slice(1e-5, 1e-3));
    }

    #[test]
    fn rates_are_scaled_together() {
        let recipe = Recipe { stages: Recipe::lesson_stages(1, 3e-3, 1, 3e-5), ..Recipe::default() };
        assert!((recipe.with_rates_scaled(0.1).peak_rate() / 3e-4 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn rates_of_another_recipe_are_all_that_is_taken_over() {
        let recipe = Recipe { stages: Recipe::lesson_stages(1, 3e-3, 1, 3e-5), ..Recipe::default() };
        let lower = Recipe { stop_early: false, ..recipe.with_rates_scaled(0.1) };
        assert_eq!(recipe.with_rates_of(&lower), lower);
        let other = Recipe { seed: 7, dropout: 0.1, stages: vec![Stage::one_cycle(9, Rate::Flat(1e-4))], ..lower };
        let taken = recipe.with_rates_of(&other);
        assert_eq!((taken.stages.len(), taken.stages[0].epochs, taken.seed), (2, 1, recipe.seed));
        assert_eq!(taken.stages[0].rate, Rate::Flat(1e-4));
    }
}
