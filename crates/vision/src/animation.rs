//! How many frames a file has, from its structure alone: no frame is decoded for it.

use crate::decode::Format;

/// Frames, at least 1. A file that cannot be walked counts as far as it could.
pub(crate) fn frames(format: Format, bytes: &[u8]) -> u32 {
    let count = match format {
        Format::Gif => gif_frames(bytes),
        Format::Png => chunk_after(bytes, *b"acTL").map(u32::from_be_bytes),
        Format::WebP => Some(bytes.windows(4).filter(|window| window == b"ANMF").count() as u32),
        Format::Jpeg | Format::Bmp => None,
    };
    count.unwrap_or(1).max(1)
}

/// The first four bytes of the body of a PNG chunk that stands before the picture's data.
fn chunk_after(bytes: &[u8], kind: [u8; 4]) -> Option<[u8; 4]> {
    let mut at = 8_usize;
    loop {
        let length = u32::from_be_bytes(*bytes.get(at..at.checked_add(4)?)?.first_chunk()?) as usize;
        let found = bytes.get(at + 4..at + 8)?;
        if found == kind.as_slice() {
            return bytes.get(at + 8..at + 12)?.first_chunk().copied();
        }
        if found == b"IDAT" {
            return None;
        }
        at = at.checked_add(length)?.checked_add(12)?;
    }
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
