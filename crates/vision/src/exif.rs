//! The orientation of a photograph: a camera stores how it was held, and viewers turn the picture upright.

use crate::decode::Rgb;

const ORIENTATION_TAG: u16 = 0x0112;

/// EXIF orientation of a JPEG, 1 to 8; 1 when it says nothing sensible.
pub(crate) fn orientation(jpeg: &[u8]) -> u8 {
    find_exif(jpeg).and_then(read_orientation).filter(|value| (1..=8).contains(value)).unwrap_or(1)
}

/// The TIFF structure inside the first APP1 segment that holds one.
fn find_exif(jpeg: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    loop {
        let [0xff, marker, high, low] = *jpeg.get(at..at + 4)?.first_chunk::<4>()? else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let body = jpeg.get(at + 4..at + 2 + length)?;
        match marker {
            0xe1 if body.starts_with(b"Exif\0\0") => return body.get(6..),
            0xda | 0xd9 => return None,
            _ => at += 2 + length,
        }
    }
}

fn read_orientation(tiff: &[u8]) -> Option<u8> {
    let little = match tiff.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *tiff.get(at..at.checked_add(2)?)?.first_chunk::<2>()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *tiff.get(at..at.checked_add(4)?)?.first_chunk::<4>()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize)
    };
    let directory = long(4)?;
    let entries = usize::from(short(directory)?);
    (0..entries)
        .map(|entry| directory.saturating_add(2 + 12 * entry))
        .find(|at| short(*at) == Some(ORIENTATION_TAG))
        .and_then(|at| u8::try_from(short(at.checked_add(8)?)?).ok())
}

/// Turns a picture upright. Orientation n says where the stored first row and column are shown.
pub(crate) fn upright(pixels: Rgb, orientation: u8) -> Rgb {
    if orientation <= 1 {
        return pixels;
    }
    let (w, h) = (pixels.width as usize, pixels.height as usize);
    let swapped = orientation >= 5;
    let (width, height) = if swapped { (h, w) } else { (w, h) };
    let mut data = Vec::with_capacity(pixels.data.len());
    for y in 0..height {
        for x in 0..width {
            let (sx, sy) = match orientation {
                2 => (w - 1 - x, y),
                3 => (w - 1 - x, h - 1 - y),
                4 => (x, h - 1 - y),
                5 => (y, x),
                6 => (y, h - 1 - x),
                7 => (w - 1 - y, h - 1 - x),
                _ => (w - 1 - y, x),
            };
            let at = 3 * (sy * w + sx);
            data.extend_from_slice(&pixels.data[at..at + 3]);
        }
    }
    Rgb { width: width as u32, height: height as u32, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2×3 picture whose pixels are numbered by rows.
    fn numbered() -> Rgb {
        Rgb { width: 2, height: 3, data: (0..6).flat_map(|n| [n, n, n]).collect() }
    }

    fn numbers(pixels: &Rgb) -> Vec<u8> {
        pixels.data.chunks(3).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn every_orientation_is_turned_upright() {
        let expected: [(u8, u32, [u8; 6]); 8] = [
            (1, 2, [0, 1, 2, 3, 4, 5]),
            (2, 2, [1, 0, 3, 2, 5, 4]),
            (3, 2, [5, 4, 3, 2, 1, 0]),
            (4, 2, [4, 5, 2, 3, 0, 1]),
            (5, 3, [0, 2, 4, 1, 3, 5]),
            (6, 3, [4, 2, 0, 5, 3, 1]),
            (7, 3, [5, 3, 1, 4, 2, 0]),
            (8, 3, [1, 3, 5, 0, 2, 4]),
        ];
        for (orientation, width, order) in expected {
            let turned = upright(numbered(), orientation);
            assert_eq!((turned.width, numbers(&turned)), (width, order.to_vec()), "orientation {orientation}");
        }
    }

    #[test]
    fn nonsense_is_no_orientation() {
        for bytes in [
            &b""[..],
            b"\xff\xd8",
            b"\xff\xd8\xff\xe1\x00\x08Exif",
            b"\xff\xd8\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff",
        ] {
            assert_eq!(orientation(bytes), 1);
        }
    }
}
