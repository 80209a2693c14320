//! What a user does to work that is on its way, and when: drawn from a seed, the same for the same seed for ever. The
//! faults of a seed are drawn apart from it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Of the random numbers of a seed: the faults have stream 0.
const STREAM: u64 = 1;
/// From one act to the next on average. All of a round are due well before its faults are over.
const SPACING: Duration = Duration::from_secs(10);
/// So much later does one come.
const JITTER: Duration = Duration::from_secs(3);
/// Not that of probes, which is 1, and less than that of what is urgent.
const PRIORITIES: [u32; 3] = [0, 2, 3];
/// For how long a worker is drained, in milliseconds.
const DRAINED: std::ops::RangeInclusive<u64> = 3000..=5000;

/// Something that a user does to work that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Cancels a job that fetches pictures.
    Cancel,
    /// Cancels all jobs of a pipeline at once.
    CancelMany,
    /// Gives one job another priority.
    Prioritise(u32),
    /// Gives all probes that run another priority.
    PrioritiseMany(u32),
    /// Drains a worker, and lets it in again after a while.
    Drain(Duration),
    /// Runs a pipeline again that has ended.
    Rerun,
}

impl Act {
    /// One of each kind.
    fn draw(dice: &mut impl Rng) -> [Self; 6] {
        [
            Self::Cancel,
            Self::CancelMany,
            Self::Prioritise(priority(dice)),
            Self::PrioritiseMany(priority(dice)),
            Self::Drain(Duration::from_millis(dice.random_range(DRAINED))),
            Self::Rerun,
        ]
    }
}

fn priority(dice: &mut impl Rng) -> u32 {
    PRIORITIES[dice.random_range(0..PRIORITIES.len())]
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancel => f.write_str("cancel"),
            Self::CancelMany => f.write_str("cancel-many"),
            Self::Prioritise(priority) => write!(f, "prioritise to {priority}"),
            Self::PrioritiseMany(priority) => write!(f, "prioritise-many to {priority}"),
            Self::Drain(lasts) => write!(f, "drain for {:.1} s", lasts.as_secs_f64()),
            Self::Rerun => f.write_str("rerun"),
        }
    }
}

/// An act and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Since the work began. Later where there is nothing that it could be done to.
    pub at: Duration,
    /// What is done.
    pub act: Act,
}

/// An act that was done.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which.
    pub act: Act,
    /// When it was begun.
    pub at: DateTime<Utc>,
    /// What proves that it was done.
    pub proof: String,
}

/// Draws as many rounds as there are of faults, each `round` long, in each of which every act is done once, in another
/// order every time.
pub fn draw(seed: u64, rounds: usize, round: Duration) -> Vec<Due> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    dice.set_stream(STREAM);
    let mut agenda = Vec::new();
    for nth in 0..rounds as u32 {
        let mut acts = Act::draw(&mut dice);
        acts.shuffle(&mut dice);
        for (place, act) in acts.into_iter().enumerate() {
            let jitter = dice.random_range(Duration::ZERO..JITTER);
            agenda.push(Due { at: round * nth + SPACING * place as u32 + jitter, act });
        }
    }
    agenda
}

/// What of an agenda was not done.
pub fn left_undone(agenda: &[Due], done: &[Done]) -> Vec<Act> {
    let mut left: Vec<Act> = agenda.iter().map(|due| due.act).collect();
    for one in done {
        if let Some(place) = left.iter().position(|act| *act == one.act) {
            left.remove(place);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::Schedule;

    fn agenda(seed: u64, rounds: usize) -> Vec<Due> {
        draw(seed, rounds, Schedule::round())
    }

    proptest! {
        #[test]
        fn every_act_is_due_once_a_round_and_before_its_faults_are_over(seed: u64, rounds in 1_usize..8) {
            let agenda = agenda(seed, rounds);
            prop_assert!(agenda.is_sorted_by_key(|due| due.at));
            for (nth, acts) in agenda.chunks(6).enumerate() {
                let kinds = acts.iter().map(|due| std::mem::discriminant(&due.act));
                prop_assert_eq!(kinds.collect::<std::collections::HashSet<_>>().len(), 6);
                let end = Schedule::round() * (nth as u32 + 1);
                prop_assert!(acts.iter().all(|due| due.at + Duration::from_secs(20) < end));
            }
            prop_assert_eq!(agenda.len(), 6 * rounds);
        }
    }

    #[test]
    fn the_same_seed_is_the_same_agenda_and_another_is_another() {
        assert_eq!(agenda(7, 3), agenda(7, 3));
        assert_ne!(agenda(7, 3), agenda(8, 3));
    }

    #[test]
    fn what_was_done_less_often_than_it_was_due_is_told() {
        let due = |act| Due { at: Duration::ZERO, act };
        let done = |act| Done { act, at: DateTime::UNIX_EPOCH, proof: String::new() };
        let agenda = [due(Act::Cancel), due(Act::Rerun), due(Act::Rerun)];
        assert_eq!(left_undone(&agenda, &[done(Act::Rerun), done(Act::Cancel)]), [Act::Rerun]);
        assert!(left_undone(&agenda, &[done(Act::Rerun), done(Act::Cancel), done(Act::Rerun)]).is_empty());
    }
}
