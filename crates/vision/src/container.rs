//! What a file's structure says before a decoder touches it: how many frames it has, and whether its end is there.
//! No pixel is decoded for it, and nothing is allocated.

use crate::decode::Format;
use crate::refusal::{Refusal, RefusalReason};

/// Frames, at least 1. A file that cannot be walked counts as far as it could.
pub(crate) fn frames(format: Format, bytes: &[u8]) -> u32 {
    let count = match format {
        Format::Gif => gif_frames(bytes),
        Format::Png => announced_png_frames(bytes),
        Format::WebP => Some(webp_chunks(bytes).filter(|kind| *kind == b"ANMF").count() as u32),
        Format::Jpeg | Format::Bmp => None,
    };
    count.unwrap_or(1).max(1)
}

/// Refuses a file that ends before its container does, where decoders may not notice. JPEG has its own walk.
pub(crate) fn check_complete(format: Format, bytes: &[u8]) -> Result<(), Refusal> {
    let complete = match format {
        Format::Png => png_chunks(bytes).any(|(kind, _)| kind == b"IEND"),
        Format::WebP => webp_size(bytes).is_some_and(|size| size <= bytes.len() as u64),
        Format::Gif | Format::Bmp | Format::Jpeg => true,
    };
    if complete {
        return Ok(());
    }
    let detail = format!("it ends after {} bytes, before the picture does", bytes.len());
    Err(Refusal::new(RefusalReason::Truncated, detail))
}

/// Kind and body of each whole chunk, checksum included in what must be there.
fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = 8_usize;
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
        let chunk = bytes.get(at..at.checked_add(length)?.checked_add(12)?)?;
        at += chunk.len();
        Some((&chunk[4..8], &chunk[8..8 + length]))
    })
}

/// What an animated PNG says of itself, which must stand before the picture's data.
fn announced_png_frames(bytes: &[u8]) -> Option<u32> {
    let (_, body) = png_chunks(bytes).take_while(|(kind, _)| *kind != b"IDAT").find(|(kind, _)| *kind == b"acTL")?;
    body.first_chunk().copied().map(u32::from_be_bytes)
}

/// Bytes of the whole file, as its RIFF header says.
fn webp_size(bytes: &[u8]) -> Option<u64> {
    bytes.get(4..)?.first_chunk().map(|size| u64::from(u32::from_le_bytes(*size)) + 8)
}

/// The kind of each chunk; bodies are padded to even length.
fn webp_chunks(bytes: &[u8]) -> impl Iterator<Item = &[u8; 4]> {
    let mut at = 12_usize;
    std::iter::from_fn(move || {
        let kind = bytes.get(at..)?.first_chunk::<4>()?;
        let length = u32::from_le_bytes(*bytes.get(at + 4..)?.first_chunk()?) as usize;
        at = at.checked_add(8)?.checked_add(length)?.checked_add(length % 2)?;
        Some(kind)
    })
}

fn gif_frames(bytes: &[u8]) -> Option<u32> {
    let table = |packed: u8| if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) };
    let mut at = 13 + table(*bytes.get(10)?);
    let mut frames = 0;
    while let Some(&block) = bytes.get(at) {
        match block {
            0x2c => {
                frames += 1;
                let Some(&packed) = bytes.get(at + 9) else { break };
                at = skip_blocks(bytes, at + 11 + table(packed));
            }
            0x21 => at = skip_blocks(bytes, at + 2),
            _ => break,
        }
    }
    Some(frames)
}

/// Skips data blocks, each after its length, up to the empty one.
fn skip_blocks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&length) = bytes.get(at) {
        at += 1 + usize::from(length);
        if length == 0 {
            break;
        }
    }
    at
}
