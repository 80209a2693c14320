//! When what goes wrong: drawn from a seed, the same for the same seed as long as there is no other kind of fault.

use std::fmt;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::fault::{Fault, Kind};

/// From one fault to the next on average. Many outlast that, and so meet.
const SPACING: Duration = Duration::from_millis(4200);
/// So much earlier or later does one come.
const JITTER: Duration = Duration::from_millis(1500);

/// A fault and when it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// Since the begin.
    pub at: Duration,
    /// What happens.
    pub fault: Fault,
}

impl Strike {
    /// When it is over, since the begin.
    pub fn end(&self) -> Duration {
        self.at + self.fault.lasts
    }
}

/// All faults of a run, in the order in which they strike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// What it was drawn from.
    pub seed: u64,
    /// The faults.
    pub strikes: Vec<Strike>,
}

impl Schedule {
    /// Draws rounds, in each of which every kind of fault strikes once, in another order every time.
    pub fn draw(seed: u64, rounds: usize) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut strikes: Vec<Strike> = Vec::with_capacity(rounds * Kind::ALL.len());
        for round in 0..rounds {
            for (place, kind) in order(round, &mut dice).into_iter().enumerate() {
                let nth = (round * Kind::ALL.len() + place) as u32;
                let jitter = dice.random_range(Duration::ZERO..JITTER);
                let fault = Fault::draw(kind, &mut dice);
                let at = (SPACING * nth + jitter).max(when_free(&strikes, &fault));
                strikes.push(Strike { at, fault });
            }
        }
        strikes.sort_by_key(|strike| strike.at);
        Self { seed, strikes }
    }

    /// How long a round lasts.
    pub fn round() -> Duration {
        SPACING * Kind::ALL.len() as u32
    }

    /// As many rounds as fit into a time, one at least.
    pub fn rounds_within(time: Duration) -> usize {
        ((time.as_millis() / Self::round().as_millis()) as usize).max(1)
    }

    /// When the last fault is over.
    pub fn end(&self) -> Duration {
        self.strikes.iter().map(Strike::end).max().unwrap_or_default()
    }
}

/// The kinds in the order of a round. In the first one the trainer is killed last: there has to be one.
fn order(round: usize, dice: &mut ChaCha8Rng) -> Vec<Kind> {
    let mut kinds = Kind::ALL.to_vec();
    kinds.shuffle(dice);
    if round == 0 {
        kinds.sort_by_key(|kind| *kind == Kind::KillTrainer);
    }
    kinds
}

/// When everything is over that hits the same.
fn when_free(strikes: &[Strike], fault: &Fault) -> Duration {
    let same = strikes.iter().filter(|strike| strike.fault.target == fault.target);
    same.map(|strike| strike.end() + Duration::from_millis(500)).max().unwrap_or_default()
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} faults in {:.0} s", self.seed, self.strikes.len(), self.end().as_secs_f64())?;
        self.strikes.iter().try_for_each(|strike| writeln!(f, "{:8.1} s  {}", strike.at.as_secs_f64(), strike.fault))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::fault::Target;

    proptest! {
        #[test]
        fn every_kind_strikes_once_a_round(seed: u64, rounds in 1_usize..8) {
            let mut struck: BTreeMap<Kind, usize> = BTreeMap::new();
            for strike in Schedule::draw(seed, rounds).strikes {
                *struck.entry(strike.fault.kind).or_default() += 1;
            }
            prop_assert_eq!(struck, Kind::ALL.into_iter().map(|kind| (kind, rounds)).collect());
        }

        #[test]
        fn nothing_is_hit_twice_at_a_time(seed: u64) {
            let mut free: BTreeMap<Target, Duration> = BTreeMap::new();
            for strike in Schedule::draw(seed, 4).strikes {
                let begin = free.entry(strike.fault.target).or_default();
                prop_assert!(strike.at >= *begin, "{}", strike.fault);
                *begin = strike.end() + Duration::from_millis(1);
            }
        }

        #[test]
        fn faults_are_spread_over_the_time(seed: u64) {
            let schedule = Schedule::draw(seed, 2);
            prop_assert!(schedule.strikes.is_sorted_by_key(|strike| strike.at));
            let whole = SPACING * schedule.strikes.len() as u32;
            prop_assert!(schedule.end() < whole + Duration::from_secs(25), "{:?}", schedule.end());
            // Wherever one looks there is a fault within a few seconds.
            let gaps = schedule.strikes.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at));
            prop_assert!(gaps.max().unwrap() < 4 * SPACING);
        }

        #[test]
        fn every_fault_fits_its_kind(seed: u64) {
            for Strike { fault, .. } in Schedule::draw(seed, 2).strikes {
                prop_assert!(fault.kind.targets().contains(&fault.target));
                prop_assert_eq!(fault.jump_seconds != 0, fault.kind == Kind::JumpClock);
            }
        }
    }

    #[test]
    fn the_same_seed_is_the_same_schedule_and_another_is_another() {
        assert_eq!(Schedule::draw(7, 3), Schedule::draw(7, 3));
        assert_ne!(Schedule::draw(7, 3).strikes, Schedule::draw(8, 3).strikes);
    }

    #[test]
    fn a_seed_that_was_written_down_means_the_same_until_there_is_another_kind_of_fault() {
        let first = Schedule::draw(1, 1).strikes[0];
        assert_eq!(
            format!("{:.3} {}", first.at.as_secs_f64(), first.fault),
            "0.895 refuse-store (way to the object store) for 3.5 s"
        );
    }

    #[test]
    fn all_kinds_have_names_of_their_own() {
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn the_trainer_is_killed_when_there_is_one() {
        for seed in 0..20 {
            let schedule = Schedule::draw(seed, 1);
            let at = schedule.strikes.iter().find(|strike| strike.fault.kind == Kind::KillTrainer).unwrap().at;
            assert!(at >= SPACING * (Kind::ALL.len() as u32 - 1), "{at:?}");
        }
    }
}
