//! Momentum over a cycle.

use serde::{Deserialize, Serialize};

use crate::setting::{InvalidSetting, share, within};

/// Adam's beta1 (fastai's `moms`): it falls while the rate rises, and rises while the rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Momentum {
    /// Where a cycle begins and ends, in [0, 1).
    pub high: f64,
    /// Where the rate is at its peak, in [0, `high`].
    pub low: f64,
}

impl Default for Momentum {
    fn default() -> Self {
        Self { high: 0.95, low: 0.85 }
    }
}

impl Momentum {
    pub(super) fn check(self) -> Result<(), InvalidSetting> {
        share("high", self.high)?;
        within("low", self.low, 0.0..=self.high)
    }
}
