//! Whose constants are trained with, by name. What they are, the learner knows.

use serde::{Deserialize, Serialize};

use crate::lifecycle::words;

/// Whose constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
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

words!(Numerics, "numerics", {
    FastaiV1 => "fastai-v1",
    FastaiV2 => "fastai-v2",
});
