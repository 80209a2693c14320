//! Which trials go on: asynchronous successive halving (ASHA; Li et al. 2018, <https://arxiv.org/abs/1810.05934>).
//!
//! Trials are trained in rungs, each some times as long as the one before. Whoever is among the best share of those that
//! have got to the end of a rung goes on to the next one, without waiting for the others: what is known now decides, and
//! more may be known later. Two things are said here that the paper, whose searches have no end, leaves open:
//! - While trials of a search wait to be begun, nothing is decided. What goes on would stand behind them in the queue, so
//!   deciding later costs nothing and more is known then.
//! - When nothing is left to do and no trial was trained to the end, the best one goes on all the same: a search of few
//!   trials ends with a model, too.

use super::trial::Trial;

/// What a search has to do besides what has just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Some of its trials wait for somebody to begin with them.
    Queued,
    /// All that wait for nothing are at work.
    Busy,
    /// Nothing at all.
    Idle,
}

/// How long the rungs are: the epochs, from the first, after which each ends. The first has `min_epochs`, every other
/// `reduction` times the epochs of the one before, and the last `max_epochs`, which is nearer to so many times the one
/// before than to any other power.
pub fn rungs(min_epochs: u32, max_epochs: u32, reduction: u32) -> Vec<u32> {
    let (most, factor) = (u64::from(max_epochs), u64::from(reduction.max(2)));
    let mut ends = Vec::new();
    let mut end = u64::from(min_epochs.clamp(1, max_epochs.max(1)));
    // The first has what it was given; another one is worth it where it lies nearer to the one before it than to the last.
    while end < most && (ends.is_empty() || end * end * factor <= most * most) {
        ends.push(end as u32);
        end *= factor;
    }
    ends.push(max_epochs);
    ends
}

/// The trials (by their place) that go on to their next rung, the best first; `rungs` is how many there are.
///
/// At every rung the best `n / reduction` (rounded down) of the `n` that have ended there go on; those that diverged have
/// ended, as the worst, and never go on.
pub fn promote(trials: &[Trial], rungs: usize, reduction: u32, load: Load) -> Vec<usize> {
    let next_to_last = rungs.saturating_sub(1);
    match load {
        Load::Queued => Vec::new(),
        Load::Busy => (0..next_to_last).rev().flat_map(|rung| of_rung(trials, rung, reduction)).collect(),
        Load::Idle => {
            let promoted = promote(trials, rungs, reduction, Load::Busy);
            let is_over = !promoted.is_empty() || trials.iter().any(|trial| trial.results.len() == rungs);
            if is_over {
                promoted
            } else {
                (0..next_to_last).rev().find_map(|rung| best_left(trials, rung)).into_iter().collect()
            }
        }
    }
}

fn of_rung(trials: &[Trial], rung: usize, reduction: u32) -> Vec<usize> {
    let ended = trials.iter().filter(|trial| trial.has_ended(rung)).count();
    let best = by_rank(trials, rung).into_iter().take(ended / reduction.max(2) as usize);
    best.filter(|&place| may_go_on(&trials[place], rung)).collect()
}

fn best_left(trials: &[Trial], rung: usize) -> Option<usize> {
    by_rank(trials, rung).into_iter().find(|&place| may_go_on(&trials[place], rung))
}

/// Those that got to the end of a rung, the best first.
fn by_rank(trials: &[Trial], rung: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..trials.len()).filter(|&place| trials[place].at(rung).is_some()).collect();
    places.sort_by(|&one, &other| trials[one].compare_at(rung, &trials[other]));
    places
}

/// Whether `rung` is the last that a trial was sent to.
fn may_go_on(trial: &Trial, rung: usize) -> bool {
    trial.rungs == rung + 1
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::trial::Measured;
    use super::*;

    fn measured(errors: u64, loss: f64) -> Measured {
        Measured { epochs: 1, errors, validated: 100, loss }
    }

    fn trials(count: u32) -> Vec<Trial> {
        (1..=count).map(|number| Trial::new(number, BTreeMap::new(), Uuid::nil())).collect()
    }

    /// Trials that got to the end of their first rung, and their errors.
    fn after_first(errors: &[u64]) -> Vec<Trial> {
        let mut trials = trials(errors.len() as u32);
        for (trial, errors) in trials.iter_mut().zip(errors) {
            trial.results.push(measured(*errors, 1.0));
        }
        trials
    }

    /// How a rung of a trial ends.
    #[derive(Debug, Clone, Copy)]
    enum End {
        Measured(u64),
        Diverged,
        /// Its task ends without a result.
        Lost,
    }

    fn any_end() -> impl Strategy<Value = End> {
        prop_oneof![8 => (0_u64..20).prop_map(End::Measured), 1 => Just(End::Diverged), 1 => Just(End::Lost)]
    }

    /// A whole search: whatever is at work ends in any order, with any results.
    #[derive(Debug, Clone)]
    struct Story {
        count: u32,
        rungs: usize,
        reduction: u32,
        workers: usize,
        ends: Vec<End>,
        order: Vec<prop::sample::Index>,
    }

    fn any_story() -> impl Strategy<Value = Story> {
        (1_u32..30, 1_usize..5, 2_u32..5, 1_usize..40).prop_flat_map(|(count, rungs, reduction, workers)| {
            let most = count as usize * rungs;
            let ends = prop::collection::vec(any_end(), most);
            let order = prop::collection::vec(any::<prop::sample::Index>(), most);
            (ends, order).prop_map(move |(ends, order)| Story { count, rungs, reduction, workers, ends, order })
        })
    }

    impl Story {
        /// Plays it to its end and gives the trials as they are then; `look` sees every decision before it is followed.
        fn play(&self, mut look: impl FnMut(&[Trial], &[usize])) -> Vec<Trial> {
            let mut trials = trials(self.count);
            let mut queue: Vec<usize> = (0..trials.len()).collect();
            let mut working: Vec<usize> = Vec::new();
            for (end, index) in self.ends.iter().zip(&self.order) {
                let taken = queue.len().min(self.workers - working.len());
                working.extend(queue.drain(..taken));
                if working.is_empty() {
                    break;
                }
                let place = working.remove(index.index(working.len()));
                match end {
                    End::Measured(errors) => trials[place].results.push(measured(*errors, 1.0)),
                    End::Diverged => trials[place].diverged = Some("inf".into()),
                    End::Lost => {}
                }
                let load = match (queue.is_empty(), working.is_empty()) {
                    (false, _) => Load::Queued,
                    (true, false) => Load::Busy,
                    (true, true) => Load::Idle,
                };
                let promoted = promote(&trials, self.rungs, self.reduction, load);
                look(&trials, &promoted);
                for place in promoted {
                    trials[place].rungs += 1;
                    queue.push(place);
                }
            }
            assert!(queue.is_empty() && working.is_empty(), "it goes on though every rung of every trial has ended");
            trials
        }
    }

    proptest! {
        #[test]
        fn a_trial_is_sent_to_a_rung_once_and_only_after_the_end_of_the_one_before(story in any_story()) {
            let mut sent = HashSet::new();
            let trials = story.play(|trials, promoted| {
                for &place in promoted {
                    let trial = &trials[place];
                    assert_eq!(trial.results.len(), trial.rungs, "it got to the end of every rung it was sent to");
                    assert!(trial.rungs < story.rungs && trial.diverged.is_none());
                    assert!(sent.insert((place, trial.rungs)), "trial {place} goes to rung {} twice", trial.rungs);
                }
            });
            prop_assert!(trials.iter().all(|trial| trial.rungs <= story.rungs));
        }

        #[test]
        fn nobody_goes_on_before_a_better_one_that_is_known(story in any_story()) {
            story.play(|trials, promoted| for &place in promoted {
                let rung = trials[place].rungs - 1;
                let better = |other: &Trial| other.at(rung).is_some() && other.compare_at(rung, &trials[place]).is_lt();
                for (other, trial) in trials.iter().enumerate().filter(|(_, trial)| better(trial)) {
                    assert!(trial.rungs > rung + 1 || promoted.contains(&other), "{trial:?} is better and stays");
                }
            });
        }

        #[test]
        fn of_those_that_ended_no_more_than_their_share_is_among_the_chosen(story in any_story()) {
            story.play(|trials, promoted| for rung in 0..story.rungs {
                let ended = trials.iter().filter(|trial| trial.has_ended(rung)).count();
                let chosen = promoted.iter().filter(|&&place| trials[place].rungs == rung + 1).count();
                assert!(chosen <= (ended / story.reduction as usize).max(1), "{chosen} of {ended}");
            });
        }

        #[test]
        fn whoever_knows_everything_before_deciding_sends_on_exactly_the_share(
            errors in prop::collection::vec(0_u64..50, 1..60), reduction in 2_u32..5,
        ) {
            let trials = after_first(&errors);
            let promoted = promote(&trials, 3, reduction, Load::Busy);
            prop_assert_eq!(promoted.len(), errors.len() / reduction as usize);
            let worst = promoted.iter().map(|&place| errors[place]).max().unwrap_or(0);
            let left = (0..errors.len()).filter(|place| !promoted.contains(place));
            prop_assert!(left.into_iter().all(|place| errors[place] >= worst));
        }

        #[test]
        fn a_search_ends_with_a_model_unless_somebody_failed(story in any_story()) {
            let fails = story.ends.iter().any(|end| !matches!(end, End::Measured(_)));
            let trials = story.play(|_, _| ());
            let is_trained = trials.iter().any(|trial| trial.results.len() == story.rungs);
            let left = trials.iter().any(|trial| trial.results.len() == trial.rungs && trial.diverged.is_none());
            prop_assert!(is_trained || (fails && !left), "{trials:?}");
        }

        #[test]
        fn the_order_in_which_results_come_does_not_matter_where_all_are_known(
            errors in prop::collection::vec(0_u64..20, 2..30), seed: u64,
        ) {
            let trials = after_first(&errors);
            let mut shuffled = trials.clone();
            shuffled.sort_by_key(|trial| u64::from(trial.number).wrapping_mul(seed | 1));
            let numbers = |trials: &[Trial]| {
                promote(trials, 2, 3, Load::Busy).iter().map(|&place| trials[place].number).collect::<Vec<_>>()
            };
            prop_assert_eq!(numbers(&trials), numbers(&shuffled));
        }

        #[test]
        fn rungs_rise_from_the_first_to_the_last(min in 1_u32..50, more in 0_u32..2000, reduction in 2_u32..8) {
            let ends = rungs(min, min + more, reduction);
            prop_assert_eq!((ends[0], ends[ends.len() - 1]), (min, min + more));
            prop_assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", ends);
        }
    }

    #[test]
    fn rungs_are_as_long_as_one_expects() {
        assert_eq!(rungs(1, 9, 3), [1, 3, 9]);
        assert_eq!(rungs(1, 27, 3), [1, 3, 9, 27]);
        assert_eq!(rungs(1, 10, 3), [1, 3, 10], "a last rung of one epoch would decide nothing");
        assert_eq!(rungs(1, 8, 3), [1, 3, 8]);
        assert_eq!(rungs(1, 4, 3), [1, 4]);
        assert_eq!(rungs(2, 3, 2), [2, 3]);
        assert_eq!(rungs(5, 5, 3), [5]);
    }

    #[test]
    fn the_best_third_goes_on_and_those_that_diverged_count_as_the_worst() {
        let mut trials = after_first(&[30, 10, 20, 40, 50]);
        assert_eq!(promote(&trials, 3, 3, Load::Busy), [1], "one of five");
        assert_eq!(promote(&trials, 3, 3, Load::Queued), [] as [usize; 0]);
        trials.extend(super::tests::trials(1));
        trials[5].diverged = Some("inf".into());
        assert_eq!(promote(&trials, 3, 3, Load::Busy), [1, 2], "two of six");
        trials[1].rungs = 2;
        assert_eq!(promote(&trials, 3, 3, Load::Busy), [2]);
    }

    #[test]
    fn of_as_many_errors_the_lower_loss_goes_on() {
        let mut trials = trials(3);
        for (trial, loss) in trials.iter_mut().zip([0.7, 0.5, 0.6]) {
            trial.results.push(measured(10, loss));
        }
        assert_eq!(promote(&trials, 2, 3, Load::Busy), [1]);
    }

    #[test]
    fn few_trials_end_with_a_model_all_the_same() {
        let mut trials = after_first(&[30, 10]);
        assert_eq!(promote(&trials, 3, 3, Load::Busy), [] as [usize; 0], "two have no third");
        assert_eq!(promote(&trials, 3, 3, Load::Idle), [1]);
        trials[1].rungs = 2;
        trials[1].diverged = Some("inf".into());
        assert_eq!(promote(&trials, 3, 3, Load::Idle), [0], "the next best, where the best diverged");
        trials[0].rungs = 3;
        trials[0].results = vec![measured(30, 1.0); 3];
        assert_eq!(promote(&trials, 3, 3, Load::Idle), [] as [usize; 0]);
    }
}
