//! What verification keeps beside the original: an upright RGB picture of bounded size, and its hashes.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use sha2::{Digest, Sha256};

use crate::decode::{Decoded, Format, Rgb};
use crate::refusal::{Refusal, RefusalReason};

const QUALITY: u8 = 92;

/// A picture as training reads it.
#[derive(Debug, Clone)]
pub struct Normalised {
    /// The picture file.
    pub bytes: Vec<u8>,
    /// Its format.
    pub format: Format,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// SHA-256 of width and height (little-endian u32) and the pixels, before compression.
    pub pixel_sha256: [u8; 32],
    /// See [`perceptual_hash`].
    pub perceptual_hash: u64,
}

/// Scales a picture so that its longer side is at most `max_side` pixels, and compresses it as JPEG.
pub fn normalise(decoded: &Decoded, max_side: u32) -> Result<Normalised, Refusal> {
    let pixels = fit(&decoded.pixels, max_side)?;
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(&pixels.data, pixels.width, pixels.height, image::ExtendedColorType::Rgb8)
        .map_err(|error| Refusal::new(RefusalReason::UnsupportedFormat, error))?;
    Ok(Normalised {
        bytes,
        format: Format::Jpeg,
        width: pixels.width,
        height: pixels.height,
        pixel_sha256: pixel_hash(&pixels),
        perceptual_hash: perceptual_hash(&pixels),
    })
}

fn fit(pixels: &Rgb, max_side: u32) -> Result<Rgb, Refusal> {
    let longer = pixels.width.max(pixels.height);
    if longer <= max_side {
        return Ok(pixels.clone());
    }
    let scaled =
        |side: u32| ((u64::from(side) * u64::from(max_side) + u64::from(longer) / 2) / u64::from(longer)).max(1);
    resize(pixels, scaled(pixels.width) as u32, scaled(pixels.height) as u32)
}

/// Bilinear with the filter widened when shrinking, so that nothing aliases.
pub(crate) fn resize(pixels: &Rgb, width: u32, height: u32) -> Result<Rgb, Refusal> {
    let failed = |error: &dyn ToString| Refusal::new(RefusalReason::Corrupt, error.to_string());
    let source =
        ImageRef::new(pixels.width, pixels.height, &pixels.data, PixelType::U8x3).map_err(|error| failed(&error))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| failed(&error))?;
    Ok(Rgb { width, height, data: target.into_vec() })
}

fn pixel_hash(pixels: &Rgb) -> [u8; 32] {
    Sha256::new()
        .chain_update(pixels.width.to_le_bytes())
        .chain_update(pixels.height.to_le_bytes())
        .chain_update(&pixels.data)
        .finalize()
        .into()
}

/// Difference hash: shrunk to 9×8 grey pixels, one bit for each that is darker than its right neighbour. Pictures that
/// look the same differ in few bits, whatever their size and compression.
pub fn perceptual_hash(pixels: &Rgb) -> u64 {
    let Ok(small) = resize(pixels, 9, 8) else { return 0 };
    let grey: Vec<u32> = small
        .data
        .chunks_exact(3)
        .map(|pixel| 299 * u32::from(pixel[0]) + 587 * u32::from(pixel[1]) + 114 * u32::from(pixel[2]))
        .collect();
    let bits = grey.chunks_exact(9).flat_map(|row| row.windows(2).map(|pair| pair[0] < pair[1]));
    bits.fold(0, |hash, bit| hash << 1 | u64::from(bit))
}
