//! Sizes as people write them.

use std::str::FromStr;

/// Units, by what they multiply.
const UNITS: [(&str, f64); 10] = [
    ("", 1.0),
    ("b", 1.0),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
];

/// Bytes, written as `64MiB`, `1.5 TiB`, `500MB` or `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes(text).map(Self).ok_or_else(|| format!("{text:?} is no size; examples: 40GiB, 500MB, 1.5TiB"))
    }
}

fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let size = number.parse::<f64>().ok()? * factor;
    // Beyond 2^53 a fraction of a byte more or less is not what makes it wrong.
    (size < 9e15).then_some(size.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        for (text, size) in [
            ("0", 0),
            ("4096", 4096),
            ("7B", 7),
            ("3KiB", 3 << 10),
            ("24 GiB", 24 << 30),
            ("1.5 tib", 3 << 39),
            ("500MB", 500_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(size)), "{text:?}");
        }
        for text in ["", "GiB", "-1GiB", "40 G", "1..5GiB", "1e30GiB", "99999999999TiB"] {
            assert!(text.parse::<ByteSize>().unwrap_err().contains("40GiB"), "{text:?}");
        }
    }
}
