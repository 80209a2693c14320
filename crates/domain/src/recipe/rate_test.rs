//! The learning-rate finder's settings: which rates are tried, and by which method one is suggested.

use serde::{Deserialize, Serialize};

use crate::lifecycle::words;
use crate::setting::{InvalidSetting, above_zero, require, within};

const MAX_STEPS: u32 = 10_000;

/// Which rates are tried. The defaults are fastai's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateTest {
    /// The first rate.
    pub start: f64,
    /// What the rates would reach after the last batch.
    pub end: f64,
    /// Batches, hence points, at most.
    pub steps: u32,
    /// Whether to stop at four times the best loss.
    pub stop_when_diverging: bool,
}

impl Default for RateTest {
    fn default() -> Self {
        Self { start: 1e-7, end: 10.0, steps: 100, stop_when_diverging: true }
    }
}

impl RateTest {
    /// Refuses a test that cannot be made, naming the key.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let Self { start, end, steps, .. } = *self;
        above_zero("start", start)?;
        above_zero("end", end)?;
        require(start < end, "end", || format!("is {end}; it must be above start, {start}: the rates rise"))?;
        within("steps", steps, 1..=MAX_STEPS)
    }

    /// The rate of batch `step` (from 0): even steps in the logarithm.
    pub fn rate(&self, step: u32) -> f64 {
        self.start * (self.end / self.start).powf(f64::from(step) / f64::from(self.steps))
    }
}

/// How a rate is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// In the middle of the longest falling stretch (fastai v2's default).
    Valley,
    /// Where the loss falls fastest (fastai v1's "min numerical gradient").
    Steepest,
    /// A tenth of the rate with the lowest loss.
    MinimumOver10,
}

// The one to begin with first.
words!(Method, "method", {
    Valley => "valley",
    Steepest => "steepest",
    MinimumOver10 => "minimum-over10",
});

/// Which of a recipe's rates a found one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateEnd {
    /// The highest of the last stage: all others, also those of other stages, keep their ratio to it.
    #[default]
    Highest,
    /// The early body's in the last stage, up to the head's, which stays: the lesson's `slice(found, rate / 10)`.
    Lowest,
}

// The one to begin with first.
words!(RateEnd, "end of the rates", { Highest => "highest", Lowest => "lowest" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_do_not_rise_are_refused() {
        let refused = |test: RateTest| test.check().unwrap_err().key;
        assert_eq!(refused(RateTest { start: 0.0, ..RateTest::default() }), "start");
        assert_eq!(refused(RateTest { end: f64::INFINITY, ..RateTest::default() }), "end");
        assert_eq!(refused(RateTest { start: 1.0, end: 0.1, ..RateTest::default() }), "end");
        assert_eq!(refused(RateTest { steps: 0, ..RateTest::default() }), "steps");
        assert!(serde_json::from_str::<RateTest>(r#"{"begin": 1}"#).is_err());
        RateTest::default().check().unwrap();
    }

    #[test]
    fn rates_rise_evenly_in_the_logarithm() {
        let test = RateTest::default();
        assert!((test.rate(0) / 1e-7 - 1.0).abs() < 1e-12);
        assert!((test.rate(50) / 1e-3 - 1.0).abs() < 1e-9);
        assert!((test.rate(100) / 10.0 - 1.0).abs() < 1e-9);
    }
}
