//! Counts out of a total, with what they leave open.

use serde::{Deserialize, Serialize};

/// Standard deviations either side of a 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// `count` out of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proportion {
    /// How many,
    pub count: u64,
    /// of how many.
    pub of: u64,
}

impl Proportion {
    /// As a fraction; 0 of nothing is 0.
    pub fn rate(self) -> f64 {
        self.count as f64 / self.of.max(1) as f64
    }

    /// The 95 % confidence interval of the fraction: 2 of 141 and 1 of 141 do not differ.
    pub fn interval(self) -> (f64, f64) {
        interval(self.rate(), self.of)
    }
}

/// The 95 % confidence interval of a share measured on `of` things, as fractions (Wilson 1927); everything where it is
/// measured on nothing, or is no share.
pub fn interval(share: f64, of: u64) -> (f64, f64) {
    if of == 0 || !(0.0..=1.0).contains(&share) {
        return (0.0, 1.0);
    }
    let n = of as f64;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

impl std::ops::Add for Proportion {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { count: self.count + other.count, of: self.of + other.of }
    }
}

impl std::iter::Sum for Proportion {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| sum + part)
    }
}

impl std::fmt::Display for Proportion {
    /// `2/141 = 1.4 % (0.4–5.0 %)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = self.interval();
        let percent = |share: f64| share * 100.0;
        let (rate, low, high) = (percent(self.rate()), percent(low), percent(high));
        write!(f, "{}/{} = {rate:.1} % ({low:.1}–{high:.1} %)", self.count, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // 10 of 100 → 0.0552 to 0.1744; 0 of 20 → 0 to 0.1611.
        for (count, of, low, high) in [(10, 100, 0.0552, 0.1744), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0)] {
            let found = Proportion { count, of }.interval();
            assert!((found.0 - low).abs() < 1e-4 && (found.1 - high).abs() < 1e-4, "{found:?}");
        }
        assert_eq!(Proportion::default().interval(), (0.0, 1.0));
        assert_eq!(interval(7.0, 10), (0.0, 1.0), "no share at all");
    }

    #[test]
    fn the_lessons_one_and_two_mistakes_do_not_differ() {
        let (one, two) = (Proportion { count: 1, of: 141 }, Proportion { count: 2, of: 141 });
        assert!(one.interval().1 > two.rate() && two.interval().0 < one.rate());
        assert_eq!(two.to_string(), "2/141 = 1.4 % (0.4–5.0 %)");
    }
}
