//! The life cycles, each one total function `next(state, event)`.
//!
//! States are plain words because Postgres stores them; what belongs to a state (worker, lease, error) lives in the
//! attempt's row. Every SQL write repeats the guard, so these functions and the database cannot disagree for long.

pub mod job;
pub mod task;

/// An event that makes no sense in the present state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {what} that is {state} cannot {event}")]
pub struct IllegalTransition {
    /// "job" or "task".
    pub what: &'static str,
    /// The state it is in.
    pub state: String,
    /// What was asked of it.
    pub event: String,
}

/// Gives a closed set of words `as_str`, `Display`, `FromStr` and `ALL` from one table.
macro_rules! words {
    ($name:ident, $what:literal, { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every member, in the order of the life cycle.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable name stored in Postgres and shown to users.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error_class::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::error_class::UnknownWord { what: $what, word: word.to_owned() }),
                }
            }
        }
    };
}
pub(crate) use words;
