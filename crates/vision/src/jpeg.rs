//! JPEG: decoders are lenient with files that end early, so the file's structure is walked first.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::decode::{Limits, Rgb, check_size};
use crate::refusal::{Refusal, RefusalReason as Reason};

/// Decodes to RGB, whatever the colour model, and names it.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<(Rgb, String), Refusal> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let complete = walk(bytes);
    decoder.decode_headers().map_err(|error| match complete {
        Err(cut) => cut,
        Ok(()) => Refusal::new(Reason::Corrupt, format!("{error:?}")),
    })?;
    let info = decoder.info().ok_or_else(|| Refusal::new(Reason::Corrupt, "it has no frame header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(width, height, limits)?;
    walk(bytes)?;
    let mode = match decoder.input_colorspace() {
        Some(ColorSpace::CMYK | ColorSpace::YCCK) => "cmyk8",
        Some(ColorSpace::Luma) => "l8",
        _ => "rgb8",
    };
    let data = decoder.decode().map_err(|error| Refusal::new(Reason::Corrupt, format!("{error:?}")))?;
    if data.len() != 3 * width as usize * height as usize {
        return Err(Refusal::new(Reason::UnsupportedFormat, "its colour model is not read"));
    }
    Ok((Rgb { width, height, data }, mode.to_owned()))
}

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

/// Walks from marker to marker to the end of the image; what follows that is nobody's business.
fn walk(bytes: &[u8]) -> Result<(), Refusal> {
    let cut =
        || Refusal::new(Reason::Truncated, format!("it ends after {} bytes, before the picture does", bytes.len()));
    let mut at = 2;
    loop {
        let marker = next_marker(bytes, &mut at).ok_or_else(cut)?;
        match marker {
            END_OF_IMAGE => return Ok(()),
            // Markers without a body.
            0x01 | 0xd0..=0xd8 => {}
            _ => {
                let length = bytes.get(at..at + 2).ok_or_else(cut)?;
                at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                if at > bytes.len() {
                    return Err(cut());
                }
            }
        }
        if marker == START_OF_SCAN {
            skip_entropy_coded(bytes, &mut at);
        }
    }
}

/// The marker at or after `at`, which is left behind it. Padding before a marker is allowed.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    while *bytes.get(*at)? != 0xff {
        *at += 1;
    }
    while *bytes.get(*at)? == 0xff {
        *at += 1;
    }
    let marker = *bytes.get(*at)?;
    *at += 1;
    Some(marker)
}

/// Leaves `at` on the next marker that is neither stuffing nor a restart.
fn skip_entropy_coded(bytes: &[u8], at: &mut usize) {
    while *at + 1 < bytes.len() {
        if bytes[*at] == 0xff && !matches!(bytes[*at + 1], 0x00 | 0xff | 0xd0..=0xd7) {
            return;
        }
        *at += 1;
    }
    *at = bytes.len();
}
