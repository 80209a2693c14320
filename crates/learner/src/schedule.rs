//! The one-cycle schedule (Smith 2018) in the forms of fastai 1.0.61 and v2: cosine up, cosine down after, momentum the
//! other way round (lesson 2 §2.5). Pure.

use std::f64::consts::PI;

use ursa_domain::recipe::Momentum;

/// Learning rate and momentum for each batch of one fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneCycle {
    /// How many batches.
    pub batches: u64,
    /// When the rate turns.
    pub warm_up: WarmUp,
    /// It begins at the peak divided by this,
    pub start_divisor: f64,
    /// and ends near the peak divided by this.
    pub final_divisor: f64,
    /// High at both ends, low at the peak.
    pub momentum: Momentum,
}

/// How the first phase is measured; the number is a share of all batches, in (0, 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WarmUp {
    /// fastai v1: whole batches, rounded down, one at least.
    WholeBatches(f64),
    /// fastai v2: the share of the fit that was done before the batch.
    Share(f64),
}

impl OneCycle {
    /// The learning rate of batch `index` (from 0) when the peak is `peak`.
    pub fn learning_rate(&self, index: u64, peak: f64) -> f64 {
        match self.phase(index) {
            Phase::WarmUp(share) => cosine(peak / self.start_divisor, peak, share),
            Phase::CoolDown(share) => cosine(peak, peak / self.final_divisor, share),
        }
    }

    /// The momentum (Adam's beta1) of batch `index`.
    pub fn momentum(&self, index: u64) -> f64 {
        let Momentum { high, low } = self.momentum;
        match self.phase(index) {
            Phase::WarmUp(share) => cosine(high, low, share),
            Phase::CoolDown(share) => cosine(low, high, share),
        }
    }

    fn phase(&self, index: u64) -> Phase {
        match self.warm_up {
            WarmUp::WholeBatches(share) => {
                let warm_up = (self.batches as f64 * share).floor() as u64;
                let cool_down = self.batches.saturating_sub(warm_up).max(1);
                let warm_up = warm_up.max(1);
                if index <= warm_up {
                    Phase::WarmUp(index as f64 / warm_up as f64)
                } else {
                    Phase::CoolDown((index - warm_up) as f64 / cool_down as f64)
                }
            }
            WarmUp::Share(turn) => {
                let done = index as f64 / self.batches.max(1) as f64;
                if done < turn { Phase::WarmUp(done / turn) } else { Phase::CoolDown((done - turn) / (1.0 - turn)) }
            }
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
    use ursa_domain::recipe::{Numerics, Rate, Recipe, Stage};

    use crate::numerics;

    use super::*;

    fn cycle(numerics: Numerics, batches: u64) -> OneCycle {
        let recipe = Recipe { numerics, ..Recipe::default() };
        numerics::cycle(&recipe, &Stage::one_cycle(1, Rate::Flat(1.0)), batches)
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-3 * expected, "{found} is not {expected}");
    }

    #[test]
    fn four_epochs_of_seven_batches_follow_fastai_v1() {
        let cycle = cycle(Numerics::FastaiV1, 28);
        for (index, rate) in [(0, 1.2e-4), (4, 1.560e-3), (8, 3e-3), (18, 1.5e-3), (27, 1.848e-5)] {
            close(cycle.learning_rate(index, 3e-3), rate);
            close(cycle.learning_rate(index, 3e-4), rate / 10.0);
        }
        for (index, momentum) in [(0, 0.95), (4, 0.90), (8, 0.85), (18, 0.90)] {
            close(cycle.momentum(index), momentum);
        }
    }

    #[test]
    fn v2_turns_after_a_quarter_and_counts_what_is_done() {
        let cycle = cycle(Numerics::FastaiV2, 28);
        // combined_cos(0.25, 3e-3/25, 3e-3, 3e-3/1e5) at i/28.
        for (index, rate) in [(0, 1.2e-4), (3, 1.239_56e-3), (7, 3e-3), (14, 2.250_01e-3), (27, 1.678_36e-5)] {
            close(cycle.learning_rate(index, 3e-3), rate);
        }
        for (index, momentum) in [(0, 0.95), (7, 0.85), (14, 0.875)] {
            close(cycle.momentum(index), momentum);
        }
    }

    #[test]
    fn momentum_goes_between_the_numbers_that_are_given() {
        for (numerics, peak, middle) in [(Numerics::FastaiV1, 8, 18), (Numerics::FastaiV2, 7, 17)] {
            let cycle = OneCycle { momentum: Momentum { high: 0.9, low: 0.5 }, ..cycle(numerics, 28) };
            close(cycle.momentum(0), 0.9);
            close(cycle.momentum(peak), 0.5);
            assert!(cycle.momentum(middle) > 0.5 && cycle.momentum(middle) < cycle.momentum(27));
            assert!(cycle.momentum(27) < 0.9);
            let level = OneCycle { momentum: Momentum { high: 0.9, low: 0.9 }, ..cycle };
            (0..28).for_each(|index| close(level.momentum(index), 0.9));
        }
    }

    #[test]
    fn fine_tune_warms_up_almost_to_the_end_of_the_frozen_epoch() {
        let stages = Recipe::fine_tune_stages(3, 2e-3);
        let recipe = Recipe { numerics: Numerics::FastaiV2, ..Recipe::default() };
        let frozen = numerics::cycle(&recipe, &stages[0], 10);
        close(frozen.learning_rate(0, 2e-3), 8e-5);
        assert!((1..10).all(|index| frozen.learning_rate(index, 1.0) > frozen.learning_rate(index - 1, 1.0)));
        let all = numerics::cycle(&recipe, &stages[1], 30);
        close(all.learning_rate(0, 1e-3), 2e-4);
        close(all.learning_rate(9, 1e-3), 1e-3);
    }

    #[test]
    fn the_shortest_fits_stay_finite_and_below_the_peak() {
        for (batches, numerics) in (1..8).flat_map(|n| [(n, Numerics::FastaiV1), (n, Numerics::FastaiV2)]) {
            let cycle = cycle(numerics, batches);
            for index in 0..batches {
                let rate = cycle.learning_rate(index, 1.0);
                assert!(rate > 0.0 && rate <= 1.0, "batch {index} of {batches}: {rate}");
            }
        }
    }
}
