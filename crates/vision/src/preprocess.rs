//! From a picture file to what a network sees: the very same code in training and in serving.

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
    /// top, channels last.
    pub fn prepare(&self, bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, Refusal> {
        self.prepare_pixels(&decode(bytes, limits)?.pixels)
    }

    /// As [`Preprocessing::prepare`], from pixels.
    pub fn prepare_pixels(&self, pixels: &Rgb) -> Result<Vec<u8>, Refusal> {
        let shorter = u64::from(pixels.width.min(pixels.height));
        let scaled = |side: u32| ((u64::from(side) * u64::from(self.size) + shorter / 2) / shorter) as u32;
        let (width, height) = (scaled(pixels.width).max(self.size), scaled(pixels.height).max(self.size));
        Ok(centre(&resize(pixels, width, height)?, self.size))
    }

    /// Appends a prepared picture to `out` as `3 × size × size` normalised floats, channels first.
    pub fn to_chw(&self, prepared: &[u8], out: &mut Vec<f32>) {
        for channel in 0..3 {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            out.extend(prepared.iter().skip(channel).step_by(3).map(|value| (f32::from(*value) / 255.0 - mean) / std));
        }
    }
}

fn centre(pixels: &Rgb, size: u32) -> Vec<u8> {
    let (width, size) = (pixels.width as usize, size as usize);
    let (left, top) = ((width - size) / 2, (pixels.height as usize - size) / 2);
    (top..top + size)
        .flat_map(|row| {
            let start = 3 * (row * width + left);
            pixels.data[start..start + 3 * size].iter().copied()
        })
        .collect()
}
