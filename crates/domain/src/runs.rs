//! The runs of one train job: with other seeds, with more and more of the data.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Share of the training side that it learned from, in percent.
    pub train_percent: u32,
    /// What it was seeded with.
    pub seed: u64,
    /// Its model.
    pub model_digest: String,
    /// On the validation side, as a fraction.
    pub error_rate: f64,
    /// Images of the validation side that its model takes for another class.
    pub errors: u64,
    /// Images of the validation side.
    pub validated: u64,
    /// Training images.
    pub trained: u64,
}

impl Run {
    /// Whether its model is the one to keep of the two: of those with most of the data the one with the lowest error rate, of
    /// equals the one with the lowest seed.
    pub fn is_better_than(&self, other: &Self) -> bool {
        let rank = |run: &Self| (Reverse(run.train_percent), run.error_rate, run.seed);
        rank(self) < rank(other)
    }
}

/// Runs that differ in nothing but their seeds. Rates are fractions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Share of the training side that they learned from, in percent.
    pub train_percent: u32,
    /// How many.
    pub runs: usize,
    /// Of their error rates.
    pub mean: f64,
    /// Standard deviation of a single run, estimated from these; none of one.
    pub deviation: Option<f64>,
    /// The best.
    pub lowest: f64,
    /// The worst.
    pub highest: f64,
}

/// What the seeds make of each share of the data, the smallest first.
pub fn spread(runs: &[Run]) -> Vec<Spread> {
    let mut shares: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for run in runs {
        shares.entry(run.train_percent).or_default().push(run.error_rate);
    }
    shares.into_iter().map(|(train_percent, rates)| Spread::of(train_percent, &rates)).collect()
}

impl Spread {
    fn of(train_percent: u32, rates: &[f64]) -> Self {
        let count = rates.len() as f64;
        let mean = rates.iter().sum::<f64>() / count;
        let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
        Self {
            train_percent,
            runs: rates.len(),
            mean,
            deviation: (rates.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            lowest: rates.iter().copied().fold(f64::INFINITY, f64::min),
            highest: rates.iter().copied().fold(0.0, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(train_percent: u32, seed: u64, error_rate: f64) -> Run {
        let model_digest = format!("{train_percent}-{seed}");
        Run { train_percent, seed, model_digest, error_rate, errors: 0, validated: 0, trained: 0 }
    }

    #[test]
    fn the_best_run_has_most_of_the_data_then_the_fewest_errors_then_the_lowest_seed() {
        let ranked = [run(100, 1, 0.1), run(100, 3, 0.1), run(100, 2, 0.2), run(50, 1, 0.1), run(25, 1, 0.0)];
        for (place, better) in ranked.iter().enumerate() {
            assert!(ranked[place + 1..].iter().all(|worse| better.is_better_than(worse)), "{better:?}");
            assert!(!better.is_better_than(better));
        }
    }

    #[test]
    fn the_spread_is_that_of_the_seeds() {
        let [half, whole] = &spread(&[run(50, 1, 0.5), run(100, 1, 0.1), run(100, 2, 0.3)])[..] else { panic!() };
        assert_eq!((half.runs, half.deviation), (1, None));
        assert!((whole.mean - 0.2).abs() < 1e-12 && (whole.deviation.unwrap() - 0.02_f64.sqrt()).abs() < 1e-12);
        assert_eq!((whole.lowest.to_bits(), whole.highest.to_bits()), (0.1_f64.to_bits(), 0.3_f64.to_bits()));
    }
}
