//! Mixing the pictures of a batch: mixup (Zhang et al. 2017) and cutmix (Yun et al. 2019).

use serde::{Deserialize, Serialize};

use crate::setting::{InvalidSetting, require};

const MAX_ALPHA: f64 = 4.0;

/// How pictures are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mix {
    /// Every picture is blended with another; its own share is the larger of λ and 1 − λ, λ ~ Beta(alpha, alpha).
    MixUp {
        /// In (0, 4]; fastai's default is 0.4.
        alpha: f64,
    },
    /// A rectangle of every picture is another's; it has 1 − λ of the area, λ ~ Beta(alpha, alpha).
    CutMix {
        /// In (0, 4]; fastai's default is 1.
        alpha: f64,
    },
}

impl Mix {
    pub(super) fn check(self) -> Result<(), InvalidSetting> {
        let (Self::MixUp { alpha } | Self::CutMix { alpha }) = self;
        let fits = alpha > 0.0 && alpha <= MAX_ALPHA;
        require(fits, "alpha", || format!("is {alpha}; it must be above 0 and at most {MAX_ALPHA}"))
    }
}
