//! Weights to start from.

use serde::{Deserialize, Serialize};

use crate::setting::{self, InvalidSetting};

/// Weights with torchvision's names, as safetensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainedWeights {
    /// A path on the worker or an http(s) URL.
    pub location: String,
    /// SHA-256 of the file, hex: what is loaded is what was meant.
    pub sha256: String,
}

impl PretrainedWeights {
    pub(crate) fn check(&self) -> Result<(), InvalidSetting> {
        let digits = self.sha256.len() == 64 && self.sha256.chars().all(|c| c.is_ascii_hexdigit());
        setting::require(digits, "sha256", || {
            format!("is {:?}; it must be the 64 hexadecimal digits of the file's SHA-256", self.sha256)
        })
    }
}
