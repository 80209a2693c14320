//! Why an attempt ended badly, in the few classes that decide what happens next.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The class of a failure. It alone decides whether another attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May succeed when tried again: a crashed trainer, a full disk, a flaky peer.
    Retryable,
    /// Will fail the same way every time: bad input, an impossible request.
    Fatal,
    /// The machine or a service under it went away: a lost worker, an unreachable store.
    Infrastructure,
    /// Its lease was lost, and it came back all the same: what it said then was refused.
    Fenced,
    /// Somebody asked for it to stop.
    Cancelled,
    /// It took longer than its job allows, or did not get on.
    Deadline,
    /// Given back as it was taken: no room for it, a worker that is drained, a more urgent job. Uses up no attempt.
    Returned,
}

impl ErrorClass {
    /// Every class, for tables and tests.
    pub const ALL: [Self; 7] = [
        Self::Retryable,
        Self::Fatal,
        Self::Infrastructure,
        Self::Fenced,
        Self::Cancelled,
        Self::Deadline,
        Self::Returned,
    ];

    /// Whether the attempt counts: one that was given back untouched does not.
    pub fn uses_up_an_attempt(self) -> bool {
        self != Self::Returned
    }

    /// Whether another attempt may be made, if any are left.
    pub fn allows_retry(self) -> bool {
        !matches!(self, Self::Fatal | Self::Cancelled)
    }

    /// The stable name stored in Postgres and shown to users.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::Fatal => "fatal",
            Self::Infrastructure => "infrastructure",
            Self::Fenced => "fenced",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::Returned => "returned",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no member of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {word:?}")]
pub struct UnknownWord {
    /// What was being read, for instance "job state".
    pub what: &'static str,
    /// What stood there.
    pub word: String,
}

impl FromStr for ErrorClass {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "error class", word: word.to_owned() })
    }
}
