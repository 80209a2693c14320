//! Peak learning rates of the parameter groups, in fastai's words.

use serde::{Deserialize, Serialize};

use crate::setting::{self, InvalidSetting};

/// Parameter groups: the early body, the late body and the head (fastai's split at layer3 and the head, lesson 2 §2.2).
pub const GROUPS: usize = 3;

/// fastai 1.0.61 and v2: the groups behind the head at a tenth.
const BEHIND_HEAD: f64 = 10.0;

/// How the peak rate is spread over the groups (early body, late body, head).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// The same for all: a plain number in fastai.
    Flat(f64),
    /// The head's; a tenth for the others: `slice(rate)`.
    SliceTo(f64),
    /// From the early body's to the head's in geometric steps: `slice(low, high)`.
    Slice(f64, f64),
    /// One for each group.
    Groups([f64; GROUPS]),
}

impl Rate {
    /// The peak of each group.
    pub fn of_groups(&self) -> [f64; GROUPS] {
        match *self {
            Self::Flat(rate) => [rate; GROUPS],
            Self::SliceTo(rate) => [rate / BEHIND_HEAD, rate / BEHIND_HEAD, rate],
            Self::Slice(low, high) => {
                std::array::from_fn(|group| low * (high / low).powf(group as f64 / (GROUPS - 1) as f64))
            }
            Self::Groups(rates) => rates,
        }
    }

    /// Every rate times `factor`.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        match *self {
            Self::Flat(rate) => Self::Flat(rate * factor),
            Self::SliceTo(rate) => Self::SliceTo(rate * factor),
            Self::Slice(low, high) => Self::Slice(low * factor, high * factor),
            Self::Groups(rates) => Self::Groups(rates.map(|rate| rate * factor)),
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        let bad = self.of_groups().into_iter().find(|rate| !rate.is_finite() || *rate <= 0.0);
        setting::require(bad.is_none(), "rate", || {
            format!("has a learning rate (max_learning_rate) of {}; it must be above 0", bad.unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_those_of_fastai() {
        let close = |rate: Rate, expected: [f64; 3]| {
            for (found, expected) in rate.of_groups().into_iter().zip(expected) {
                assert!((found / expected - 1.0).abs() < 1e-3, "{rate:?}: {found}");
            }
        };
        close(Rate::Flat(1e-3), [1e-3; 3]);
        close(Rate::SliceTo(3e-3), [3e-4, 3e-4, 3e-3]);
        close(Rate::Slice(3e-5, 3e-4), [3e-5, 9.487e-5, 3e-4]);
        close(Rate::Slice(3e-5, 3e-4).scaled(10.0), [3e-4, 9.487e-4, 3e-3]);
    }
}
