//! What is done about rare classes.

use serde::{Deserialize, Serialize};

use crate::lifecycle::words;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Nothing: usually that just works (lesson 2).
    #[default]
    None,
    /// Every picture's loss is weighted by the inverse of its class's frequency.
    ClassWeights,
    /// Pictures of rarer classes are shown more often in an epoch, as often as those of the largest class.
    Oversample,
}

words!(Balance, "balance", {
    None => "none",
    ClassWeights => "class_weights",
    Oversample => "oversample",
});
