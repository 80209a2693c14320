//! What of a recipe a search may vary, and how a value gets into a recipe.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lifecycle::words;
use crate::recipe::{Mix, Recipe};
use crate::setting::{InvalidSetting, require};

/// A member of a recipe that may be varied, under its name in pipeline files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hyperparameter {
    /// The highest rate of all groups and stages; the others are scaled with it.
    MaxLearningRate,
    /// [`Recipe::weight_decay`].
    WeightDecay,
    /// [`Recipe::batch_size`]: whole numbers.
    BatchSize,
    /// [`Recipe::dropout`].
    Dropout,
    /// [`Recipe::label_smoothing`].
    LabelSmoothing,
    /// [`Recipe::weight_average`]; 0 is none.
    WeightAverage,
    /// Alpha of mixup; 0 is none.
    MixUp,
    /// Alpha of cutmix; 0 is none.
    CutMix,
    /// [`Recipe::numerics`]: words.
    Numerics,
    /// [`Recipe::balance`]: words.
    Balance,
}

words!(Hyperparameter, "hyper-parameter", {
    MaxLearningRate => "max_learning_rate",
    WeightDecay => "weight_decay",
    BatchSize => "batch_size",
    Dropout => "dropout",
    LabelSmoothing => "label_smoothing",
    WeightAverage => "weight_average",
    MixUp => "mix_up",
    CutMix => "cut_mix",
    Numerics => "numerics",
    Balance => "balance",
});

/// What a hyper-parameter is set to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(f64),
    /// One of a list of words.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) if *number == 0.0 || (1e-2..1e6).contains(&number.abs()) => write!(f, "{number}"),
            Self::Number(number) => write!(f, "{number:e}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

impl Hyperparameter {
    /// Whether it is counted.
    pub(super) fn is_whole(self) -> bool {
        self == Self::BatchSize
    }

    /// `recipe` with this set to `value`. Whether the recipe can be followed is for [`Recipe::check`] to say; here it only
    /// has to be of the right kind.
    pub fn set(self, recipe: &Recipe, value: &Value) -> Result<Recipe, InvalidSetting> {
        let mut recipe = recipe.clone();
        match self {
            Self::MaxLearningRate => recipe = recipe.with_peak_rate(self.number(value)?),
            Self::WeightDecay => recipe.weight_decay = self.number(value)?,
            Self::BatchSize => recipe.batch_size = self.whole(value)?,
            Self::Dropout => recipe.dropout = self.number(value)?,
            Self::LabelSmoothing => recipe.label_smoothing = self.number(value)?,
            Self::WeightAverage => recipe.weight_average = Some(self.number(value)?).filter(|decay| *decay != 0.0),
            Self::MixUp => recipe.mix = self.alpha(value)?.map(|alpha| Mix::MixUp { alpha }),
            Self::CutMix => recipe.mix = self.alpha(value)?.map(|alpha| Mix::CutMix { alpha }),
            Self::Numerics => recipe.numerics = self.word(value)?,
            Self::Balance => recipe.balance = self.word(value)?,
        }
        Ok(recipe)
    }

    fn number(self, value: &Value) -> Result<f64, InvalidSetting> {
        match value {
            Value::Number(number) => Ok(*number),
            Value::Word(word) => Err(self.invalid(format!("is {word:?}; it must be a number"))),
        }
    }

    fn whole(self, value: &Value) -> Result<u32, InvalidSetting> {
        let number = self.number(value)?;
        let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        require(fits, self.as_str(), || format!("is {number}; it must be a whole number"))?;
        Ok(number as u32)
    }

    fn alpha(self, value: &Value) -> Result<Option<f64>, InvalidSetting> {
        self.number(value).map(|alpha| Some(alpha).filter(|alpha| *alpha != 0.0))
    }

    fn word<T: std::str::FromStr<Err: fmt::Display>>(self, value: &Value) -> Result<T, InvalidSetting> {
        match value {
            Value::Word(word) => word.parse().map_err(|error: T::Err| self.invalid(format!("is {word:?}: {error}"))),
            Value::Number(number) => {
                Err(self.invalid(format!("is {number}; it is varied by words: give them as `choice`")))
            }
        }
    }

    fn invalid(self, reason: String) -> InvalidSetting {
        InvalidSetting::new(self.as_str(), reason)
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::{Balance, Numerics};

    use super::*;

    fn set(parameter: Hyperparameter, value: f64) -> Recipe {
        parameter.set(&Recipe::default(), &Value::Number(value)).unwrap()
    }

    #[test]
    fn every_hyper_parameter_gets_to_its_place() {
        assert!((set(Hyperparameter::MaxLearningRate, 1e-2).peak_rate() / 1e-2 - 1.0).abs() < 1e-9);
        assert!((set(Hyperparameter::WeightDecay, 0.1).weight_decay - 0.1).abs() < 1e-12);
        assert_eq!(set(Hyperparameter::BatchSize, 16.0).batch_size, 16);
        assert!((set(Hyperparameter::Dropout, 0.1).dropout - 0.1).abs() < 1e-12);
        assert!((set(Hyperparameter::LabelSmoothing, 0.1).label_smoothing - 0.1).abs() < 1e-12);
        assert_eq!(set(Hyperparameter::WeightAverage, 0.99).weight_average, Some(0.99));
        assert_eq!(set(Hyperparameter::MixUp, 0.4).mix, Some(Mix::MixUp { alpha: 0.4 }));
        assert_eq!(set(Hyperparameter::CutMix, 1.0).mix, Some(Mix::CutMix { alpha: 1.0 }));
        let word = |parameter: Hyperparameter, word: &str| {
            parameter.set(&Recipe::default(), &Value::Word(word.into())).unwrap()
        };
        assert_eq!(word(Hyperparameter::Numerics, "fastai-v2").numerics, Numerics::FastaiV2);
        assert_eq!(word(Hyperparameter::Balance, "oversample").balance, Balance::Oversample);
    }

    #[test]
    fn numbers_are_said_as_they_are_read_best() {
        let said = [0.0, 16.0, 0.25, 3.162e-3, 1e300].map(|number| Value::Number(number).to_string());
        assert_eq!(said, ["0", "16", "0.25", "3.162e-3", "1e300"]);
        assert_eq!(Value::Word("fastai-v2".into()).to_string(), "fastai-v2");
    }

    #[test]
    fn nought_is_none() {
        assert_eq!(set(Hyperparameter::MixUp, 0.0).mix, None);
        assert_eq!(set(Hyperparameter::WeightAverage, 0.0).weight_average, None);
    }

    #[test]
    fn what_is_of_the_wrong_kind_is_refused_by_name() {
        for (parameter, value) in [
            (Hyperparameter::BatchSize, Value::Number(16.5)),
            (Hyperparameter::BatchSize, Value::Number(-1.0)),
            (Hyperparameter::Dropout, Value::Word("much".into())),
            (Hyperparameter::Numerics, Value::Word("fastai-v3".into())),
            (Hyperparameter::Numerics, Value::Number(2.0)),
        ] {
            let invalid = parameter.set(&Recipe::default(), &value).unwrap_err();
            assert_eq!(invalid.key, parameter.as_str(), "{invalid}");
        }
    }

    #[test]
    fn words_are_the_same_in_json() {
        for parameter in Hyperparameter::ALL {
            assert_eq!(serde_json::to_value(parameter).unwrap(), parameter.as_str());
        }
    }
}
