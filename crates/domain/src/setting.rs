//! Settings that cannot be followed: which one it is, and what it must be.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// A setting that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {reason}")]
pub struct InvalidSetting {
    /// Which one, as a path from the value that was checked, for instance `stages[0].rate`.
    pub key: String,
    /// What is wrong with it and what it must be, without the key: "is 0; it must be above 0".
    pub reason: String,
}

impl InvalidSetting {
    pub(crate) fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }

    /// The same, seen from what holds the checked value as its member `outer`.
    #[must_use]
    pub fn inside(self, outer: impl Display) -> Self {
        Self { key: format!("{outer}.{}", self.key), ..self }
    }
}

pub(crate) fn within<T: PartialOrd + Display>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), InvalidSetting> {
    let (least, most) = (range.start(), range.end());
    require(range.contains(&value), key, || format!("is {value}; it must be between {least} and {most}"))
}

pub(crate) fn at_least(key: &str, value: f64, least: f64) -> Result<(), InvalidSetting> {
    let fits = value.is_finite() && value >= least;
    require(fits, key, || format!("is {value}; it must be a number, {least} at least"))
}

pub(crate) fn above_zero(key: &str, value: f64) -> Result<(), InvalidSetting> {
    require(value.is_finite() && value > 0.0, key, || format!("is {value}; it must be a number above 0"))
}

/// A share that never is everything: in [0, 1).
pub(crate) fn share(key: &str, value: f64) -> Result<(), InvalidSetting> {
    require((0.0..1.0).contains(&value), key, || format!("is {value}; it must be at least 0 and below 1"))
}

pub(crate) fn require(fits: bool, key: &str, reason: impl FnOnce() -> String) -> Result<(), InvalidSetting> {
    if fits { Ok(()) } else { Err(InvalidSetting::new(key, reason())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_a_path_and_the_message_says_what_must_be() {
        let invalid = within("max_zoom", 0.5, 1.0..=10.0).unwrap_err().inside("augmentation").inside("recipe");
        assert_eq!(invalid.key, "recipe.augmentation.max_zoom");
        assert_eq!(invalid.to_string(), "recipe.augmentation.max_zoom is 0.5; it must be between 1 and 10");
    }

    #[test]
    fn what_is_no_number_fits_nowhere() {
        for value in [f64::NAN, f64::INFINITY] {
            assert!(within("key", value, 0.0..=1.0).is_err());
            assert!(at_least("key", value, 0.0).is_err());
            assert!(above_zero("key", value).is_err());
            assert!(share("key", value).is_err());
        }
        assert!(at_least("key", 0.0, 0.0).is_ok() && above_zero("key", 0.0).is_err());
        assert!(share("key", 0.0).is_ok() && share("key", 1.0).is_err());
    }
}
