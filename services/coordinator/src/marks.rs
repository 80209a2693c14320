//! Where rounds begin in the lanes, and the counts of what is ready (`api/scaler.rs`), each with marks of its own. What was taken
//! before lies dead in the index for as long as somebody keeps an old transaction open, and would be walked over every time.
//!
//! A round begins where the last one found the first ready task, or, where there has been none for a while, half a minute before
//! its look. Whoever began a transaction earlier may commit a task with an earlier time: so every now and then a round begins
//! somewhat before that. That it comes a long time later is rare, and looked for less often. How much earlier a round begins then,
//! goes by the ruler: twice as far half as often. A task that comes late by some time is found after about as much time again, and
//! however long the tail of dead ones is, each of these depths costs as much as the others. What became ready at the very
//! microsecond of the first is passed over: that is all of a large job, and those before the first are dead. One that another
//! transaction of the same microsecond committed late waits until another task is the first.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::Mark;

/// So often a look reaches back a little.
const NEAR: Duration = Duration::from_millis(50);
/// That much: most transactions take less.
const LITTLE: Duration = Duration::from_secs(2);
/// So often one reaches back further; and half as far as it reaches then at least.
const DEEP: Duration = Duration::from_secs(5);
/// So many times it is doubled: beyond, a look begins at the very start. That is about every one and a half hours.
const DOUBLINGS: u32 = 10;

/// Where a look begins.
#[derive(Debug)]
pub(crate) struct Begin<'a> {
    /// By lane; those that are not listed, which nobody has looked at, at their start.
    pub(crate) marks: &'a HashMap<i32, Mark>,
    /// So much earlier than the marks.
    pub(crate) back: Duration,
}

/// See the module. It only saves work.
#[derive(Debug)]
pub(crate) struct Marks {
    by_lane: HashMap<i32, Mark>,
    /// When a look last reached back at all; and whether one has not since.
    looked_back_at: Instant,
    owes_a_look: bool,
    reached_back_at: Instant,
    reached_back: u32,
}

impl Marks {
    /// Whoever is new begins at the very start.
    pub(crate) fn new(now: Instant) -> Self {
        Self { by_lane: HashMap::new(), looked_back_at: now, owes_a_look: false, reached_back_at: now, reached_back: 0 }
    }

    /// Where to begin by now. One from the start finds every mark anew; should it fail, the next begins there, too.
    pub(crate) fn for_a_look(&mut self, now: Instant) -> Begin<'_> {
        let back = self.back(now);
        if back.is_none() {
            self.by_lane.clear();
        }
        Begin { marks: &self.by_lane, back: back.unwrap_or_default() }
    }

    /// How far to reach back by now; `None` is to the start.
    fn back(&mut self, now: Instant) -> Option<Duration> {
        if now.duration_since(self.looked_back_at) < NEAR {
            self.owes_a_look = true;
            return Some(Duration::ZERO);
        }
        self.looked_back_at = now;
        self.owes_a_look = false;
        if now.duration_since(self.reached_back_at) < DEEP {
            return Some(LITTLE);
        }
        self.reached_back_at = now;
        self.reached_back += 1;
        let doublings = self.reached_back.trailing_zeros();
        (doublings < DOUBLINGS).then(|| 2 * DEEP * 2_u32.pow(doublings))
    }

    /// So long from now there is to be a look that reaches back: what came late may have been told of before the last one. Where
    /// nobody has room there is none when it is due; it is tried again, but not at once.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Duration> {
        let left = NEAR.checked_sub(now.duration_since(self.looked_back_at)).filter(|left| !left.is_zero());
        self.owes_a_look.then(|| left.unwrap_or(NEAR))
    }

    /// Takes note of what a look has found: where the first task of each lane stands, or where the next one would.
    pub(crate) fn learn(&mut self, heads: impl IntoIterator<Item = (i32, Mark)>) {
        self.by_lane.extend(heads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the looks of `seconds`, one a second, reach back; `None` is to the start.
    fn reaches(seconds: u64) -> Vec<Option<u64>> {
        let begin = Instant::now();
        let mut marks = Marks::new(begin);
        let mut look = |second| marks.back(begin + Duration::from_secs(second)).map(|back| back.as_secs());
        (1..=seconds).map(&mut look).collect()
    }

    #[test]
    fn most_looks_reach_back_a_little_and_some_twice_as_far_half_as_often() {
        let reaches = reaches(40);
        let far: Vec<_> = reaches.iter().skip(4).step_by(5).map(|reach| reach.unwrap()).collect();
        assert_eq!(far, [10, 20, 10, 40, 10, 20, 10, 80]);
        assert_eq!(reaches.iter().filter(|reach| **reach == Some(2)).count(), 32);
    }

    #[test]
    fn of_looks_one_after_the_other_few_reach_back_and_one_more_is_due_after_the_last() {
        let begin = Instant::now();
        let mut marks = Marks::new(begin);
        let at = |place: u32| begin + NEAR / 10 * place;
        let reach_back = |place: &u32| marks.back(at(*place)) == Some(LITTLE);
        assert_eq!((1..=25).filter(reach_back).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(marks.next_look(at(25)), Some(NEAR / 2));
        assert_eq!(marks.next_look(at(40)), Some(NEAR), "nobody goes round and round where there is no room");
        marks.for_a_look(at(40));
        assert_eq!(marks.next_look(at(41)), None);
    }

    #[test]
    fn whatever_comes_late_is_found_within_as_long_again() {
        let reaches = reaches(4000);
        for late in [8, 15, 60, 500, 1200] {
            let finds = |reach: &Option<u64>| reach.is_none_or(|reach| reach >= late);
            let longest =
                reaches.chunk_by(|a, b| finds(a) == finds(b)).filter(|run| !finds(&run[0])).map(<[_]>::len).max();
            assert!((longest.unwrap() as u64) < late, "{late}: {longest:?}");
        }
    }

    #[test]
    fn at_last_a_look_begins_at_the_start() {
        let first = reaches(6000).iter().position(Option::is_none);
        assert_eq!(first, Some(5 * 1024 - 1));
    }
}
