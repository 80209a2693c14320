//! The sheet that is drawn on.

use super::colour::{Colour, mix};

/// Eight bits a channel, rows from the top, channels last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raster {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) data: Vec<u8>,
}

/// Pixels as shares of light.
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<Colour>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![[0.0; 3]; width * height] }
    }

    /// Paints every pixel with what `colour` says of its place, in pixels.
    pub(crate) fn fill(&mut self, mut colour: impl FnMut(f32, f32) -> Colour) {
        for (y, row) in self.pixels.chunks_exact_mut(self.width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = colour(x as f32, y as f32);
            }
        }
    }

    /// Covers a pixel as far as `cover` says, 0 to 1.
    pub(crate) fn blend(&mut self, x: usize, y: usize, colour: Colour, cover: f32) {
        let pixel = &mut self.pixels[y * self.width + x];
        *pixel = mix(*pixel, colour, cover);
    }

    /// The shorter side, in pixels.
    pub(crate) fn short_side(&self) -> f32 {
        self.width.min(self.height) as f32
    }
}
