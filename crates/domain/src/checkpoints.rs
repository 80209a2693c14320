//! Which checkpoints of a run are kept.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::run::CheckpointInfo;
use crate::setting::{InvalidSetting, require};

/// More is a mistake of whoever wrote it.
const MAX_LAST: u32 = 1000;

/// What is kept of a run's checkpoints. Those it goes on from, the last ones, always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepCheckpoints {
    /// The last ones, so many; at least one.
    pub last: u32,
    /// Whether the one with the lowest error rate is, the earliest of equal ones.
    pub best: bool,
    /// Those after every so many epochs.
    pub every: Option<u32>,
}

impl Default for KeepCheckpoints {
    fn default() -> Self {
        Self { last: 2, best: true, every: None }
    }
}

impl KeepCheckpoints {
    /// Refuses numbers that keep nothing, naming the key.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        require((1..=MAX_LAST).contains(&self.last), "last", || {
            format!("is {}; a run goes on from the last one: keep 1 to {MAX_LAST}", self.last)
        })?;
        require(self.every != Some(0), "every", || "is 0; leave it out to keep none for their epochs' sake".into())
    }

    /// The checkpoints of one run that are not to be kept, as places in `all`, in any order.
    pub fn superseded(&self, all: &[CheckpointInfo]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by(|one, other| latest_first(&all[*one], &all[*other]));
        // Attempts that overlap leave the same state twice.
        let (mut states, mut kept) = (Vec::new(), Vec::new());
        for place in order {
            let state = (all[place].epoch, all[place].step);
            if !states.contains(&state) {
                states.push(state);
                kept.push(place);
            }
        }
        let best = kept.iter().copied().filter(|_| self.best).min_by(|one, other| better(&all[*one], &all[*other]));
        let best = best.filter(|place| all[*place].error_rate.is_some());
        let keeps = |(age, place): (usize, usize)| {
            let one = &all[place];
            let is_due = self.every.is_some_and(|every| one.error_rate.is_some() && one.epoch.is_multiple_of(every));
            (age < self.last as usize || best == Some(place) || is_due).then_some(place)
        };
        let kept: Vec<usize> = kept.into_iter().enumerate().filter_map(keeps).collect();
        (0..all.len()).filter(|place| !kept.contains(place)).collect()
    }
}

/// As a run goes on: from the one with the most batches, of equals from the newest attempt's.
fn latest_first(one: &CheckpointInfo, other: &CheckpointInfo) -> Ordering {
    let place = |info: &CheckpointInfo| (info.epoch, info.step, info.attempt);
    place(other).cmp(&place(one))
}

/// The one with the lower error rate first, of equals the earlier; those that were not measured last.
pub fn better(one: &CheckpointInfo, other: &CheckpointInfo) -> Ordering {
    let rate = |info: &CheckpointInfo| info.error_rate.unwrap_or(f64::INFINITY);
    rate(one).total_cmp(&rate(other)).then(one.epoch.cmp(&other.epoch)).then(one.step.cmp(&other.step))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn info(attempt: u32, epoch: u32, step: u64, error_rate: Option<f64>) -> CheckpointInfo {
        let key = format!("{attempt}/{epoch}-{step}");
        CheckpointInfo { attempt, epoch, step, key, sha256: String::new(), bytes: 1, error_rate }
    }

    /// What is left of a run that was saved after each epoch of ten batches, with these error rates, and half-way between.
    fn left(policy: KeepCheckpoints, rates: &[f64]) -> Vec<(u32, u64)> {
        let mut kept: Vec<CheckpointInfo> = Vec::new();
        for (epoch, rate) in (0..).zip(rates) {
            for new in [
                info(1, epoch, 10 * u64::from(epoch) + 5, None),
                info(1, epoch + 1, 10 * u64::from(epoch + 1), Some(*rate)),
            ] {
                kept.push(new);
                let superseded = policy.superseded(&kept);
                let mut place = 0;
                kept.retain(|_| {
                    place += 1;
                    !superseded.contains(&(place - 1))
                });
            }
        }
        kept.iter().map(|one| (one.epoch, one.step)).collect()
    }

    #[test]
    fn the_last_two_and_the_best_are_kept_by_default() {
        let rates = [0.5, 0.2, 0.2, 0.3, 0.4];
        assert_eq!(left(KeepCheckpoints::default(), &rates), [(2, 20), (4, 45), (5, 50)]);
        let policy = KeepCheckpoints { best: false, ..KeepCheckpoints::default() };
        assert_eq!(left(policy, &rates), [(4, 45), (5, 50)]);
        let policy = KeepCheckpoints { last: 1, best: false, every: Some(2) };
        assert_eq!(left(policy, &rates), [(2, 20), (4, 40), (5, 50)]);
        assert_eq!(left(KeepCheckpoints { last: 1, ..policy }, &rates[..1]), [(1, 10)]);
    }

    #[test]
    fn of_attempts_that_overlap_the_newest_ones_state_is_kept() {
        let all =
            [info(1, 1, 10, Some(0.1)), info(1, 2, 20, Some(0.2)), info(2, 2, 20, Some(0.2)), info(2, 3, 30, None)];
        assert_eq!(KeepCheckpoints::default().superseded(&all), [1]);
    }

    prop_compose! {
        fn policies()(last in 1..4_u32, best: bool, every in option::of(1..4_u32)) -> KeepCheckpoints {
            KeepCheckpoints { last, best, every }
        }
    }

    prop_compose! {
        /// Saved after an epoch of ten batches, or within one.
        fn infos()(attempt in 1..4_u32, epoch in 0..6_u32, place in 0..10_u64, rate in 0..5_u32) -> CheckpointInfo {
            let measured = (place == 0 || place > 5).then(|| f64::from(rate) / 5.0);
            let within = if measured.is_some() { 0 } else { place };
            info(attempt, epoch, u64::from(epoch) * 10 + within, measured)
        }
    }

    proptest! {
        #[test]
        fn a_run_can_go_on_from_what_is_left_and_back_to_the_best(
            policy in policies(),
            all in vec(infos(), 1..12),
        ) {
            let superseded = policy.superseded(&all);
            let left: Vec<CheckpointInfo> =
                (0..all.len()).filter(|place| !superseded.contains(place)).map(|place| all[place].clone()).collect();
            let latest = all.iter().map(|one| (one.epoch, one.step)).max();
            prop_assert_eq!(left.iter().map(|one| (one.epoch, one.step)).max(), latest);
            let lowest = |infos: &[CheckpointInfo]| infos.iter().filter_map(|one| one.error_rate).reduce(f64::min);
            // Attempts that overlap may say different things of one state in this test alone.
            let is_single = all.iter().all(|one| all.iter().filter(|other| one.step == other.step).count() == 1);
            prop_assert!(!policy.best || !is_single || lowest(&left) == lowest(&all));
            let again = policy.superseded(&left);
            prop_assert!(again.is_empty(), "what is left of what is left is all of it: {:?}", again);
        }
    }

    #[test]
    fn a_policy_that_keeps_nothing_to_go_on_from_is_refused() {
        for (policy, key) in [
            (KeepCheckpoints { last: 0, ..KeepCheckpoints::default() }, "last"),
            (KeepCheckpoints { every: Some(0), ..KeepCheckpoints::default() }, "every"),
        ] {
            assert_eq!(policy.check().unwrap_err().key, key);
        }
        let policy: KeepCheckpoints = serde_json::from_str(r#"{"every": 5}"#).unwrap();
        assert_eq!(policy, KeepCheckpoints { every: Some(5), ..KeepCheckpoints::default() });
        assert!(serde_json::from_str::<KeepCheckpoints>(r#"{"first": 5}"#).is_err());
    }
}
