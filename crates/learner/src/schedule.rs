//! The one-cycle schedule (Smith 2018) in the form of fastai 1.0.61: cosine up over 30 % of the batches, cosine down
//! after, momentum the other way round. Pure.

use std::f64::consts::PI;

const WARM_UP_SHARE: f64 = 0.3;
const START_DIVISOR: f64 = 25.0;
const FINAL_DIVISOR: f64 = START_DIVISOR * 1e4;
const HIGH_MOMENTUM: f64 = 0.95;
const LOW_MOMENTUM: f64 = 0.85;

/// Learning rate and momentum for each batch of one fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneCycle {
    warm_up: u64,
    cool_down: u64,
}

impl OneCycle {
    /// A cycle over `batches` batches.
    pub fn over(batches: u64) -> Self {
        let warm_up = (batches as f64 * WARM_UP_SHARE).floor() as u64;
        Self { warm_up: warm_up.max(1), cool_down: batches.saturating_sub(warm_up).max(1) }
    }

    /// The learning rate of batch `index` (from 0) when the peak is `peak`.
    pub fn learning_rate(&self, index: u64, peak: f64) -> f64 {
        match self.phase(index) {
            Phase::WarmUp(share) => cosine(peak / START_DIVISOR, peak, share),
            Phase::CoolDown(share) => cosine(peak, peak / FINAL_DIVISOR, share),
        }
    }

    /// The momentum (Adam's beta1) of batch `index`.
    pub fn momentum(&self, index: u64) -> f64 {
        match self.phase(index) {
            Phase::WarmUp(share) => cosine(HIGH_MOMENTUM, LOW_MOMENTUM, share),
            Phase::CoolDown(share) => cosine(LOW_MOMENTUM, HIGH_MOMENTUM, share),
        }
    }

    fn phase(&self, index: u64) -> Phase {
        if index <= self.warm_up {
            Phase::WarmUp(index as f64 / self.warm_up as f64)
        } else {
            Phase::CoolDown((index - self.warm_up) as f64 / self.cool_down as f64)
        }
    }
}

enum Phase {
    WarmUp(f64),
    CoolDown(f64),
}

/// From `start` to `end` along half a cosine.
fn cosine(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + (PI * share).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-3 * expected, "{found} is not {expected}");
    }

    #[test]
    fn four_epochs_of_seven_batches_follow_fastai() {
        let cycle = OneCycle::over(28);
        assert_eq!(cycle, OneCycle { warm_up: 8, cool_down: 20 });
        for (index, rate) in [(0, 1.2e-4), (4, 1.560e-3), (8, 3e-3), (18, 1.5e-3), (27, 1.848e-5)] {
            close(cycle.learning_rate(index, 3e-3), rate);
            close(cycle.learning_rate(index, 3e-4), rate / 10.0);
        }
        for (index, momentum) in [(0, 0.95), (4, 0.90), (8, 0.85), (18, 0.90)] {
            close(cycle.momentum(index), momentum);
        }
    }

    #[test]
    fn the_shortest_fits_stay_finite_and_below_the_peak() {
        for batches in 1..8 {
            let cycle = OneCycle::over(batches);
            for index in 0..batches {
                let rate = cycle.learning_rate(index, 1.0);
                assert!(rate > 0.0 && rate <= 1.0, "batch {index} of {batches}: {rate}");
            }
        }
    }
}
