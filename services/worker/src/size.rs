//! Sizes as people write them.

use std::str::FromStr;

const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];

/// Bytes, written as `64MiB`, `24 GiB` or `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let in_unit = |(unit, shift): (&str, u32)| text.strip_suffix(unit).map(|number| (number, shift));
        let (number, shift) = UNITS.into_iter().find_map(in_unit).unwrap_or((text, 0));
        let bytes = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size; one looks like 64MiB, with KiB, MiB, GiB or TiB"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        let read = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        for (text, bytes) in [("0", 0), ("4096", 4096), ("7B", 7), ("3KiB", 3 << 10), ("24 GiB", 24 << 30)] {
            assert_eq!(read(text), Ok(bytes));
        }
        for text in ["", "GiB", "1GB", "-1", "1.5GiB", "99999999999TiB"] {
            assert!(read(text).unwrap_err().contains("MiB"), "{text}");
        }
    }
}
