//! How long to wait before the next attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const LONGEST: Duration = Duration::from_hours(24);

/// Exponential, jittered, capped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The wait after the first failed attempt, before jitter.
    pub base: Duration,
    /// The longest wait, before jitter.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_mins(1) }
    }
}

impl Backoff {
    /// The wait after attempt number `attempt` (from 1) failed. `jitter` is uniform in [0, 1): half of the wait is
    /// certain, the other half is drawn, so that tasks which failed together do not come back together.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
    }

    /// What is wrong with it, and what to do.
    ///
    /// # Errors
    /// Waits that cannot be.
    pub fn check(&self) -> Result<(), String> {
        if self.base.is_zero() || self.base > self.cap || self.cap > LONGEST {
            return Err(
                "backoff: the first wait must be above zero and no longer than the longest, and that at most a day"
                    .into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_delay_is_never_zero_and_never_beyond_the_cap(attempt in 1_u32..1000, jitter in 0.0..1.0) {
            let backoff = Backoff::default();
            let delay = backoff.delay(attempt, jitter);
            prop_assert!(delay >= backoff.base / 2 && delay <= backoff.cap);
        }
    }

    #[test]
    fn waits_double() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (1..=4).map(|attempt| backoff.delay(attempt, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8]);
    }
}
