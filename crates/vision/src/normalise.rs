//! What verification keeps beside the original: an upright RGB picture of bounded size, and its hashes.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{CropBox, FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use sha2::{Digest, Sha256};

use crate::decode::{Decoded, Format, Limits, Rgb};
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
///
/// # Panics
/// When the pixels are not as many as their width and height say.
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

/// No larger than asked for; a strip that would become too thin to be a picture is refused.
fn fit(pixels: &Rgb, max_side: u32) -> Result<Rgb, Refusal> {
    let (longer, shorter) = (pixels.width.max(pixels.height), pixels.width.min(pixels.height));
    if longer <= max_side {
        return Ok(pixels.clone());
    }
    let scaled =
        |side: u32| ((u64::from(side) * u64::from(max_side) + u64::from(longer) / 2) / u64::from(longer)) as u32;
    let (width, height) = (scaled(pixels.width), scaled(pixels.height));
    if width.min(height) < Limits::default().min_side.min(shorter).min(max_side) {
        let detail = format!("{}×{} becomes {width}×{height} when scaled: too thin", pixels.width, pixels.height);
        return Err(Refusal::new(RefusalReason::TooSmall, detail));
    }
    Ok(resize(pixels, None, width, height))
}

/// Bilinear with the filter widened when shrinking, so that nothing aliases; of the whole picture or of a part.
///
/// # Panics
/// When the pixels are not as many as their width and height say.
pub(crate) fn resize(pixels: &Rgb, part: Option<CropBox>, width: u32, height: u32) -> Rgb {
    let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    if let Some(part) = part {
        options = options.crop(part.left, part.top, part.width, part.height);
    }
    let mut target = Image::new(width, height, PixelType::U8x3);
    let resized = ImageRef::new(pixels.width, pixels.height, &pixels.data, PixelType::U8x3)
        .map_err(|error| error.to_string())
        .and_then(|source| Resizer::new().resize(&source, &mut target, &options).map_err(|error| error.to_string()));
    if let Err(error) = resized {
        panic!("{}×{} in {} bytes: {error}", pixels.width, pixels.height, pixels.data.len());
    }
    Rgb { width, height, data: target.into_vec() }
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
///
/// # Panics
/// When the pixels are not as many as their width and height say.
pub fn perceptual_hash(pixels: &Rgb) -> u64 {
    let small = resize(pixels, None, 9, 8);
    let grey: Vec<u32> = small
        .data
        .chunks_exact(3)
        .map(|pixel| 299 * u32::from(pixel[0]) + 587 * u32::from(pixel[1]) + 114 * u32::from(pixel[2]))
        .collect();
    let bits = grey.chunks_exact(9).flat_map(|row| row.windows(2).map(|pair| pair[0] < pair[1]));
    bits.fold(0, |hash, bit| hash << 1 | u64::from(bit))
}
