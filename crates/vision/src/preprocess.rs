//! From a picture file to what a network sees: the very same code in training and in serving.

use fast_image_resize::CropBox;
use serde::{Deserialize, Serialize};

use crate::decode::{Limits, Rgb, decode};
use crate::normalise::resize;
use crate::refusal::Refusal;

/// Channel means of ImageNet on [0, 1] (lesson 2, `imagenet_stats`).
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Channel standard deviations of ImageNet on [0, 1].
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// How a picture becomes a network's input. Part of the model's manifest, never derived again at serving.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Side of the square the network sees, in pixels.
    pub size: u32,
    /// Subtracted from each channel, on [0, 1].
    pub mean: [f32; 3],
    /// Each channel is divided by, on [0, 1].
    pub std: [f32; 3],
}

impl Preprocessing {
    /// With ImageNet's statistics.
    pub fn imagenet(size: u32) -> Self {
        Self { size, mean: IMAGENET_MEAN, std: IMAGENET_STD }
    }

    /// Decodes a picture, scales its shorter side to `size` and crops the centre: `size × size × 3` bytes, rows from the
    /// top, channels last. The same bytes give the same answer on every machine.
    pub fn prepare(&self, bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, Refusal> {
        Ok(self.prepare_pixels(&decode(bytes, limits)?.pixels))
    }

    /// As [`Preprocessing::prepare`], from pixels.
    ///
    /// # Panics
    /// When the pixels are not as many as their width and height say.
    pub fn prepare_pixels(&self, pixels: &Rgb) -> Vec<u8> {
        // The centre is cut out first: a long strip scaled as a whole would need any amount of memory.
        let (width, height) = (f64::from(pixels.width), f64::from(pixels.height));
        let side = width.min(height);
        let centre = CropBox { left: (width - side) / 2.0, top: (height - side) / 2.0, width: side, height: side };
        resize(pixels, Some(centre), self.size, self.size).data
    }

    /// Appends a prepared picture to `out` as `3 × size × size` normalised floats, channels first.
    pub fn to_chw(&self, prepared: &[u8], out: &mut Vec<f32>) {
        for channel in 0..3 {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            out.extend(prepared.iter().skip(channel).step_by(3).map(|value| (f32::from(*value) / 255.0 - mean) / std));
        }
    }
}
