//! PNG in its less usual forms, which need more than the usual encoder offers.

use std::io::Write as _;
use std::sync::LazyLock;

use ::png::{BitDepth, ColorType, Encoder, Filter};

use super::encode::written;
use crate::draw::Raster;

/// Shades of red, green and blue in the sticker's palette.
const SHADES: [usize; 3] = [6, 7, 6];
/// The colour behind the shades, which is transparent.
const CLEAR: u8 = 252;
/// Pixels of the bomb's sides.
const BOMB_SIDE: u32 = 30_000;

/// A true PNG of 900 million black pixels in about a hundred kilobytes, made once, a row at a time.
pub(super) static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    let mut encoder = encoder(&mut bytes, BOMB_SIDE, BOMB_SIDE, ColorType::Grayscale, BitDepth::One);
    encoder.set_filter(Filter::NoFilter);
    let mut writer = written(encoder.write_header());
    let mut stream = written(writer.stream_writer());
    let row = vec![0; (BOMB_SIDE / 8) as usize];
    for _ in 0..BOMB_SIDE {
        written(stream.write_all(&row));
    }
    written(stream.finish());
    written(writer.finish());
    bytes
});

pub(super) fn rgb(drawing: &Raster) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = encoder(&mut bytes, drawing.width, drawing.height, ColorType::Rgb, BitDepth::Eight);
    finish(encoder, &drawing.data);
    bytes
}

pub(super) fn sixteen_bit(drawing: &Raster) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = encoder(&mut bytes, drawing.width, drawing.height, ColorType::Rgb, BitDepth::Sixteen);
    let wide: Vec<u8> = drawing.data.iter().flat_map(|value| (u16::from(*value) * 257).to_be_bytes()).collect();
    finish(encoder, &wide);
    bytes
}

/// With a palette, and transparent outside of an oval.
pub(super) fn sticker(drawing: &Raster) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = encoder(&mut bytes, drawing.width, drawing.height, ColorType::Indexed, BitDepth::Eight);
    encoder.set_palette((0..=CLEAR).flat_map(shade).collect::<Vec<u8>>());
    encoder.set_trns((0..=CLEAR).map(|index| if index == CLEAR { 0 } else { 255 }).collect::<Vec<u8>>());
    let (width, height) = (drawing.width as usize, drawing.height as usize);
    let pixels = drawing.data.chunks_exact(3).enumerate();
    let indices =
        pixels.map(
            |(place, pixel)| {
                if is_corner(place % width, place / width, width, height) { CLEAR } else { index_of(pixel) }
            },
        );
    finish(encoder, &indices.collect::<Vec<u8>>());
    bytes
}

/// Outside of an oval that is a little larger than the picture.
fn is_corner(x: usize, y: usize, width: usize, height: usize) -> bool {
    let off = |place: usize, side: usize| (2.0 * place as f32 - side as f32) / side as f32;
    let (u, v) = (off(x, width), off(y, height));
    u * u + v * v > 1.35
}

fn index_of(pixel: &[u8]) -> u8 {
    let level = |channel: usize| (usize::from(pixel[channel]) * (SHADES[channel] - 1) + 127) / 255;
    ((level(0) * SHADES[1] + level(1)) * SHADES[2] + level(2)) as u8
}

fn shade(index: u8) -> [u8; 3] {
    let index = usize::from(index);
    let levels = [index / (SHADES[1] * SHADES[2]), index / SHADES[2] % SHADES[1], index % SHADES[2]];
    std::array::from_fn(|channel| (levels[channel] * 255 / (SHADES[channel] - 1)).min(255) as u8)
}

fn encoder(
    bytes: &mut Vec<u8>,
    width: u32,
    height: u32,
    colour: ColorType,
    depth: BitDepth,
) -> Encoder<'_, &mut Vec<u8>> {
    let mut encoder = Encoder::new(bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder
}

fn finish(encoder: Encoder<'_, &mut Vec<u8>>, data: &[u8]) {
    let mut writer = written(encoder.write_header());
    written(writer.write_image_data(data));
    written(writer.finish());
}
