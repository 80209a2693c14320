//! Means and what chance makes of them. Pure.

/// Of one measure over runs that differ in their seeds alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// Of a single run.
    pub(crate) deviation: f64,
    count: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, deviation: variance.sqrt(), count }
    }
}

/// The difference of two means in standard errors (Welch 1947); 0 where neither varies and both are equal.
pub(crate) fn standard_errors(one: &Spread, other: &Spread) -> f64 {
    let error = |spread: &Spread| spread.deviation.powi(2) / spread.count;
    let difference = one.mean - other.mean;
    if difference == 0.0 { 0.0 } else { difference / (error(one) + error(other)).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_measured_by_what_chance_makes() {
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        let one = Spread::of(&[1.0, 2.0, 3.0]);
        close(one.mean, 2.0);
        close(one.deviation, 1.0);
        let other = Spread::of(&[3.0, 4.0, 5.0]);
        close(standard_errors(&one, &other), -2.0 / (2.0_f64 / 3.0).sqrt());
        let still = Spread::of(&[2.0; 3]);
        close(standard_errors(&still, &still), 0.0);
        close(standard_errors(&other, &Spread::of(&[4.0; 3])), 0.0);
    }
}
