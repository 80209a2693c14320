//! After how long something is deleted, as it is configured.

use std::str::FromStr;
use std::time::Duration;

/// After how long something is deleted: `90d`, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(Option<Duration>);

impl Expiry {
    /// After this long.
    pub fn after(age: Duration) -> Self {
        Self(Some(age))
    }

    /// The age at which it is deleted; `None` is never.
    pub fn age(self) -> Option<Duration> {
        self.0
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" || text == "0" {
            return Ok(Self(None));
        }
        let age = humantime::parse_duration(text)
            .map_err(|error| format!("{text:?} is neither a time, such as 90d, nor `never`: {error}"))?;
        // Whoever writes 0 means that nothing shall be deleted, as elsewhere.
        Ok(Self(Some(age).filter(|age| !age.is_zero())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_never_are_read_and_nothing_else() {
        let days = |days: u64| Ok(Expiry::after(Duration::from_hours(24 * days)));
        assert_eq!("90d".parse(), days(90));
        assert_eq!("1week".parse(), days(7));
        for never in ["never", "0", "0s"] {
            assert_eq!(never.parse(), Ok(Expiry(None)), "{never}");
        }
        for wrong in ["", "90", "-1d", "soon"] {
            let error = wrong.parse::<Expiry>().unwrap_err();
            assert!(error.contains("never"), "{error}");
        }
    }
}
