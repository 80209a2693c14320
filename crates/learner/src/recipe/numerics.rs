//! The constants of fastai 1.0.61 and of fastai v2 by name (lesson 2 §2.1–2.5).

use serde::{Deserialize, Serialize};

use crate::network::{HeadKind, Role};
use crate::schedule::{OneCycle, WarmUp};

use super::Stage;

/// Start of the cycle: the peak divided by this, in both versions.
const START_DIVISOR: f64 = 25.0;

/// Whose constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Numerics {
    /// fastai 1.0.61: Adam's eps 1e-8; weight decay on every parameter; a warm-up over the first 30 % of the batches, counted
    /// in whole batches; a cycle that ends at peak / 2.5e5; linear layers with biases.
    #[default]
    #[serde(rename = "fastai-v1")]
    FastaiV1,
    /// fastai v2: eps 1e-5; no decay of normalisations and biases; a warm-up over 25 %, by the share of the fit that is done; a
    /// cycle that ends at peak / 1e5; linear layers without biases.
    #[serde(rename = "fastai-v2")]
    FastaiV2,
}

impl Numerics {
    /// Which head goes with it.
    pub fn head(self) -> HeadKind {
        match self {
            Self::FastaiV1 => HeadKind::FastaiV1,
            Self::FastaiV2 => HeadKind::FastaiV2,
        }
    }

    /// Added to the root of Adam's second moment.
    pub(crate) fn epsilon(self) -> f64 {
        match self {
            Self::FastaiV1 => 1e-8,
            Self::FastaiV2 => 1e-5,
        }
    }

    /// Whether weight decay applies to such a parameter.
    pub(crate) fn decays(self, role: Role) -> bool {
        self == Self::FastaiV1 || role == Role::Weight
    }

    /// The schedule of a stage of `batches` batches.
    pub fn cycle(self, stage: &Stage, batches: u64) -> OneCycle {
        let start_divisor = stage.start_divisor.unwrap_or(START_DIVISOR);
        let (share, final_divisor) = match self {
            Self::FastaiV1 => (0.3, start_divisor * 1e4),
            Self::FastaiV2 => (0.25, 1e5),
        };
        let share = stage.warm_up_share.unwrap_or(share);
        let warm_up = match self {
            Self::FastaiV1 => WarmUp::WholeBatches(share),
            Self::FastaiV2 => WarmUp::Share(share),
        };
        let final_divisor = stage.final_divisor.unwrap_or(final_divisor);
        OneCycle { batches, warm_up, start_divisor, final_divisor }
    }
}
