//! Why a picture is refused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reasons there are; their names are stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// No bytes at all.
    Empty,
    /// Not a picture: HTML, text, something else.
    NotAnImage,
    /// A picture in a format that is not read.
    UnsupportedFormat,
    /// The file ends before the picture does.
    Truncated,
    /// The file contradicts itself.
    Corrupt,
    /// More pixels than allowed.
    TooManyPixels,
    /// A side shorter than allowed.
    TooSmall,
    /// More frames than allowed.
    AnimatedBeyondCap,
    /// A larger file than allowed.
    TooManyBytes,
}

impl RefusalReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Empty,
        Self::NotAnImage,
        Self::UnsupportedFormat,
        Self::Truncated,
        Self::Corrupt,
        Self::TooManyPixels,
        Self::TooSmall,
        Self::AnimatedBeyondCap,
        Self::TooManyBytes,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAnImage => "not-an-image",
            Self::UnsupportedFormat => "unsupported-format",
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::TooManyPixels => "too-many-pixels",
            Self::TooSmall => "too-small",
            Self::AnimatedBeyondCap => "animated-beyond-cap",
            Self::TooManyBytes => "too-many-bytes",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no reason of refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a reason to refuse a picture")]
pub struct UnknownReason(String);

impl FromStr for RefusalReason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name).ok_or_else(|| UnknownReason(name.to_owned()))
    }
}

/// A picture that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The same for people, with figures.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(reason: RefusalReason, detail: impl ToString) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_from_its_name() {
        for reason in RefusalReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        assert!("boring".parse::<RefusalReason>().is_err());
    }
}
