//! The finder's schedule, its smoothed losses and when it stops. Pure.

use serde::{Deserialize, Serialize};
use ursa_domain::recipe::RateTest;
use ursa_domain::run::RatePoint;

use crate::recorder::SmoothLoss;

/// A loss this many times the best ends the test.
const DIVERGED: f64 = 4.0;

/// Why a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// All rates were tried.
    Finished,
    /// The loss was four times the best.
    Diverged,
    /// The loss was no number any more; that batch is no point of the curve.
    NotANumber,
}

/// Losses by rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateCurve {
    /// What was tried.
    pub test: RateTest,
    /// In the order of the rates.
    pub points: Vec<RatePoint>,
    /// Why it ended; `None` while it goes on.
    pub stop: Option<Stop>,
    smooth: SmoothLoss,
    best: f64,
}

impl RateCurve {
    /// A curve without points.
    pub(super) fn begin(test: RateTest) -> Self {
        Self { test, points: Vec::new(), stop: None, smooth: SmoothLoss::default(), best: f64::INFINITY }
    }

    /// The first point that is judged: fastai plots none of the first tenth.
    pub(super) fn start_judged(&self) -> u32 {
        self.test.steps / 10
    }

    /// The rate to try next; `None` when the test is over.
    pub(super) fn next_rate(&self) -> Option<f64> {
        self.stop.is_none().then(|| self.test.rate(self.points.len() as u32))
    }

    /// Takes in what the last rate gave; the point, if it is one.
    pub(super) fn add(&mut self, batch_loss: f64) -> Option<&RatePoint> {
        if !batch_loss.is_finite() {
            self.stop = Some(Stop::NotANumber);
            return None;
        }
        self.smooth.add(batch_loss);
        let (step, loss) = (self.points.len() as u32, self.smooth.value());
        self.points.push(RatePoint { step, rate: self.test.rate(step), loss, batch_loss });
        // The first points, which nobody judges, are an average of a few batches: a lucky one would end the test at a rate
        // that has moved nothing yet.
        if step >= self.start_judged() {
            self.best = self.best.min(loss);
        }
        if self.test.stop_when_diverging && loss > DIVERGED * self.best {
            self.stop = Some(Stop::Diverged);
        } else if step + 1 == self.test.steps {
            self.stop = Some(Stop::Finished);
        }
        self.points.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: impl Fn(u32) -> f64) -> RateCurve {
        let mut curve = RateCurve::begin(RateTest::default());
        while curve.next_rate().is_some() {
            let _ = curve.add(losses(curve.points.len() as u32));
        }
        curve
    }

    #[test]
    fn a_hundred_rates_rise_evenly_and_never_reach_the_end() {
        let curve = curve(|_| 1.0);
        assert_eq!((curve.points.len(), curve.stop), (100, Some(Stop::Finished)));
        assert!((curve.points[0].rate / 1e-7 - 1.0).abs() < 1e-12);
        for pair in curve.points.windows(2) {
            assert!((pair[1].rate / pair[0].rate - 1.2023).abs() < 1e-4);
        }
        assert!((curve.points[50].rate / 1e-3 - 1.0).abs() < 1e-9);
        assert!((curve.points[99].rate - 8.3176).abs() < 1e-3);
    }

    #[test]
    fn losses_are_smoothed_and_debiased() {
        let curve = curve(f64::from);
        let mut average = 0.0;
        for (n, point) in curve.points.iter().take(5).enumerate() {
            average = 0.98 * average + 0.02 * n as f64;
            assert!((point.loss - average / (1.0 - 0.98_f64.powi(n as i32 + 1))).abs() < 1e-12);
        }
    }

    #[test]
    fn the_test_stops_at_four_times_the_best_loss_keeping_that_point() {
        let curve = curve(|step| if step < 40 { 1.0 } else { 30.0 });
        assert_eq!(curve.stop, Some(Stop::Diverged));
        let last = curve.points.last().unwrap();
        assert!(last.loss > 4.0 && curve.points[curve.points.len() - 2].loss <= 4.0);
    }

    #[test]
    fn a_lucky_first_batch_does_not_end_the_test() {
        let lucky = curve(|step| if step == 0 { 0.001 } else { 1.0 });
        assert_eq!((lucky.points.len(), lucky.stop), (100, Some(Stop::Finished)));
    }

    #[test]
    fn a_loss_that_is_no_number_ends_the_test_and_is_no_point() {
        let curve = curve(|step| if step < 7 { 1.0 } else { f64::NAN });
        assert_eq!((curve.points.len(), curve.stop), (7, Some(Stop::NotANumber)));
    }
}
