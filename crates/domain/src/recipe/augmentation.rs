//! Random variations of training pictures: how strong they are and how often they happen.

use serde::{Deserialize, Serialize};

use crate::setting::{InvalidSetting, require, within};

/// The arguments of fastai v1's `get_transforms()` (lesson 2 §2.4), under its names and with its defaults, which are those of
/// v2's `aug_transforms()` too; how the two draw a warp is for the numerics to say. Random crops are v2's.
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
    /// Every picture is a random crop of at least this share of its area (v2's `RandomResizedCrop`); 1 is the whole picture.
    pub min_scale: f64,
    /// Such a crop is at most so many times as wide as high, or as high as wide; 1 is a square. `RandomResizedCrop` has 4/3.
    pub max_ratio: f64,
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
            min_scale: 1.0,
            max_ratio: 1.0,
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
        let crops = self.min_scale < 1.0;
        !self.do_flip
            && !crops
            && (self.p_affine == 0.0 || !geometry)
            && (self.p_lighting == 0.0 || self.max_lighting == 0.0)
    }

    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        within("max_rotate", self.max_rotate, 0.0..=180.0)?;
        within("max_zoom", self.max_zoom, 1.0..=10.0)?;
        within("max_lighting", self.max_lighting, 0.0..=0.99)?;
        within("max_warp", self.max_warp, 0.0..=0.5)?;
        within("p_affine", self.p_affine, 0.0..=1.0)?;
        within("p_lighting", self.p_lighting, 0.0..=1.0)?;
        within("min_scale", self.min_scale, 0.01..=1.0)?;
        within("max_ratio", self.max_ratio, 1.0..=4.0)?;
        let without_crops = self.max_ratio > 1.0 && self.min_scale >= 1.0;
        require(!without_crops, "max_ratio", || "needs crops; set min_scale below 1".into())
    }
}
