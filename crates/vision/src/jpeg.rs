//! JPEG. Decoders are lenient with files that end early or miss their middle: they paint what is missing grey and say
//! nothing. So the file's structure is walked first, and the decoder gets the file with a trap behind its data.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::decode::{Limits, Rgb, check_size};
use crate::jpeg_structure::walk;
use crate::refusal::{Refusal, RefusalReason as Reason};

/// Decodes to RGB, whatever the colour model, and names it.
///
/// CMYK counts as inverted, which is how everybody stores it and every viewer reads it.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<(Rgb, String), Refusal> {
    let walked = walk(bytes);
    let trapped = walked.as_ref().map_or_else(|_| bytes.to_vec(), |structure| structure.trapped(bytes));
    // Odd bytes between headers do no harm: strictness is for the picture's data alone.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&trapped), options);
    decoder.decode_headers().map_err(|error| walked.clone().err().unwrap_or_else(|| corrupt(format!("{error:?}"))))?;
    let info = decoder.info().ok_or_else(|| corrupt("it has no frame header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(width, height, limits)?;
    walked?;
    let mode = match decoder.input_colorspace() {
        Some(ColorSpace::CMYK | ColorSpace::YCCK) => "cmyk8",
        Some(ColorSpace::Luma) => "l8",
        _ => "rgb8",
    };
    decoder.set_options(options.set_strict_mode(true));
    let data = decoder.decode().map_err(|error| corrupt(format!("{error:?}")))?;
    if data.len() != 3 * width as usize * height as usize {
        return Err(Refusal::new(Reason::UnsupportedFormat, "its colour model is not read"));
    }
    Ok((Rgb { width, height, data }, mode.to_owned()))
}

fn corrupt(detail: impl ToString) -> Refusal {
    Refusal::new(Reason::Corrupt, detail)
}
