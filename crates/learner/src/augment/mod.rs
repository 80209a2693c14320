//! Random variations of training pictures: fastai's `get_transforms()` (lesson 2 §2.4), a whole batch at once.
//!
//! Every geometric change of a picture is composed into one sampling (bilinear, reflected borders); light changes in logit
//! space. A picture's draws depend on (seed, epoch, image id) alone: not on its batch, nor on who prepares it.

mod alteration;
mod apply;
mod geometry;
mod mix;

use serde::{Deserialize, Serialize};

pub(crate) use alteration::Alteration;
pub(crate) use apply::apply;
pub use mix::Mix;
pub(crate) use mix::{Mixture, Target};

use crate::recipe::not_within;

/// The arguments of `get_transforms()`, under its names and with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Half of the pictures are mirrored left to right.
    pub do_flip: bool,
    /// With `do_flip`: all eight symmetries of the square instead, each as often.
    pub flip_vert: bool,
    /// Degrees, either way.
    pub max_rotate: f64,
    /// Largest magnification; 1 is none.
    pub max_zoom: f64,
    /// Brightness and contrast, in [0, 1).
    pub max_lighting: f64,
    /// How far corners move, as a share of half the side.
    pub max_warp: f64,
    /// Probability of each of rotation, zoom and warp.
    pub p_affine: f64,
    /// Probability of each of brightness and contrast.
    pub p_lighting: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            do_flip: true,
            flip_vert: false,
            max_rotate: 10.0,
            max_zoom: 1.1,
            max_lighting: 0.2,
            max_warp: 0.2,
            p_affine: 0.75,
            p_lighting: 0.75,
        }
    }
}

impl Augmentation {
    /// Pictures as they are.
    pub fn none() -> Self {
        Self { do_flip: false, max_rotate: 0.0, max_zoom: 1.0, max_lighting: 0.0, max_warp: 0.0, ..Self::default() }
    }

    /// Whether it leaves every picture as it is.
    pub fn is_none(&self) -> bool {
        let geometry = self.max_rotate > 0.0 || self.max_zoom > 1.0 || self.max_warp > 0.0;
        !self.do_flip && (self.p_affine == 0.0 || !geometry) && (self.p_lighting == 0.0 || self.max_lighting == 0.0)
    }

    pub(crate) fn find_fault(&self) -> Option<String> {
        not_within("augmentation.max_rotate", self.max_rotate, 0.0, 180.0)
            .or_else(|| not_within("augmentation.max_zoom", self.max_zoom, 1.0, 10.0))
            .or_else(|| not_within("augmentation.max_lighting", self.max_lighting, 0.0, 0.99))
            .or_else(|| not_within("augmentation.max_warp", self.max_warp, 0.0, 0.5))
            .or_else(|| not_within("augmentation.p_affine", self.p_affine, 0.0, 1.0))
            .or_else(|| not_within("augmentation.p_lighting", self.p_lighting, 0.0, 1.0))
    }
}
