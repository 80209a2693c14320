//! A picture for whoever needs no web around it.

use crate::Class;
use crate::draw::{Raster, Subject, draw};

/// Eight bits a channel, red, green and blue of a pixel side by side, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width`·`height`·3 bytes.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Draws a bear; the same arguments give the same pixels everywhere.
    pub fn draw(class: Class, seed: u64, number: u64) -> Self {
        let Raster { width, height, data } = draw(&Subject { seed, class, number });
        Self { width, height, pixels: data }
    }
}
