//! Where rounds begin in the lanes. What was taken before lies dead in the index for as long as somebody keeps an old
//! transaction open, and would be walked over every time.
//!
//! A round begins where the last one found the first ready task, or, where it found none, at the time of its look. Whoever began a transaction earlier may commit a task with an
//! earlier time: so every now and then a round begins somewhat before that. That it comes a long time later is rare, and looked
//! for less often. How much earlier a round begins then, goes by the ruler: twice as far half as often. A task that comes late by
//! some time is found after about as much time again, and however long the tail of dead ones is, each of these depths costs as
//! much as the others.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;
use uuid::Uuid;

use crate::store::{LaneHead, Mark};

/// So often a look reaches back a little;
const NEAR: Duration = Duration::from_millis(50);
/// but not for so many times as long as the last such look took: of a large job, all tasks became ready at the same time, and
/// each look goes over all that are dead.
const RESTS: u32 = 20;
/// That much: most transactions take less.
const LITTLE: Duration = Duration::from_secs(2);
/// So often one reaches back further; and half as far as it reaches then at least.
const DEEP: Duration = Duration::from_secs(5);
/// So many times it is doubled: beyond, a look begins at the very start. That is about every one and a half hours.
const DOUBLINGS: u32 = 10;

#[derive(Debug)]
pub(super) struct Marks {
    by_lane: HashMap<i32, Mark>,
    /// When a look last reached back at all, how long none does since, and whether one has not that wanted to.
    looked_back_at: Instant,
    rest: Duration,
    owes_a_look: bool,
    reached_back_at: Instant,
    reached_back: u32,
}

impl Marks {
    /// A new dispatcher begins at the very start.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            by_lane: HashMap::new(),
            looked_back_at: now,
            rest: NEAR,
            owes_a_look: false,
            reached_back_at: now,
            reached_back: 0,
        }
    }

    /// Where to begin by now; lanes that are not listed, which nobody has looked at, at their start.
    pub(super) fn for_a_look(&mut self, now: Instant) -> HashMap<i32, Mark> {
        if now.duration_since(self.looked_back_at) < self.rest {
            self.owes_a_look = true;
            return self.by_lane.clone();
        }
        self.looked_back_at = now;
        self.owes_a_look = false;
        if now.duration_since(self.reached_back_at) < DEEP {
            return self.back_by(LITTLE);
        }
        self.reached_back_at = now;
        self.reached_back += 1;
        match self.reached_back.trailing_zeros() {
            doublings if doublings < DOUBLINGS => self.back_by(2 * DEEP * 2_u32.pow(doublings)),
            _ => HashMap::new(),
        }
    }

    /// So long from now there is to be a look that reaches back: what came late may have been told of before the last one. Where
    /// nobody has room there is none when it is due; it is tried again, but not at once.
    pub(super) fn next_look(&self, now: Instant) -> Option<Duration> {
        let left = self.rest.checked_sub(now.duration_since(self.looked_back_at)).filter(|left| !left.is_zero());
        self.owes_a_look.then(|| left.unwrap_or(NEAR))
    }

    /// The marks themselves stay: a lane in which nothing is found then is no reason to begin earlier again.
    fn back_by(&self, time: Duration) -> HashMap<i32, Mark> {
        let by = TimeDelta::from_std(time).unwrap_or_default();
        let earlier = |(lane, mark): (&i32, &Mark)| (*lane, Mark { at: mark.at - by, id: Uuid::nil() });
        self.by_lane.iter().map(earlier).collect()
    }

    /// Takes note of what a look has found that began at `begin`. Gangs are looked for all over their lanes.
    pub(super) fn learn(&mut self, lanes: &[LaneHead], begin: Instant, now: Instant) {
        if self.looked_back_at == begin {
            self.rest = NEAR.max(now.duration_since(begin) * RESTS);
        }
        self.by_lane.extend(lanes.iter().filter(|lane| lane.gang == 1).map(|lane| (lane.id, lane.head)));
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn head() -> Mark {
        Mark { at: DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1), id: Uuid::from_u128(7) }
    }

    /// How far the looks of `seconds`, one a second, begin before the head; `None` is the start.
    fn reaches(seconds: u64) -> Vec<Option<i64>> {
        let begin = Instant::now();
        let mut marks = Marks::new(begin);
        marks.by_lane.insert(1, head());
        let mut look = |second| {
            let from = marks.for_a_look(begin + Duration::from_secs(second)).get(&1).copied();
            from.map(|from| (head().at - from.at).num_seconds())
        };
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
        marks.by_lane.insert(1, head());
        let at = |place: u32| begin + NEAR / 10 * place;
        let reach_back = |place: &u32| marks.for_a_look(at(*place))[&1] != head();
        assert_eq!((1..=25).filter(reach_back).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(marks.next_look(at(25)), Some(NEAR / 2));
        assert_eq!(marks.next_look(at(40)), Some(NEAR), "nobody goes round and round where there is no room");
        marks.for_a_look(at(40));
        assert_eq!(marks.next_look(at(41)), None);
    }

    #[test]
    fn the_longer_a_look_back_takes_the_later_is_the_next() {
        let begin = Instant::now();
        let mut marks = Marks::new(begin);
        marks.by_lane.insert(1, head());
        let mut reaches_back = |millis: u64, took: u64| {
            let at = begin + Duration::from_millis(millis);
            let reaches_back = marks.for_a_look(at)[&1] != head();
            marks.learn(&[], at, at + Duration::from_millis(took));
            reaches_back
        };
        assert!(reaches_back(100, 30));
        assert!(!reaches_back(650, 100), "20 times as long as it took");
        assert!(reaches_back(700, 1), "a look that did not reach back does not count");
        assert!(reaches_back(750, 1));
    }

    #[test]
    fn whatever_comes_late_is_found_within_as_long_again() {
        let reaches = reaches(4000);
        for late in [8, 15, 60, 500, 1200] {
            let finds = |reach: &Option<i64>| reach.is_none_or(|reach| reach >= late);
            let longest =
                reaches.chunk_by(|a, b| finds(a) == finds(b)).filter(|run| !finds(&run[0])).map(<[_]>::len).max();
            assert!((longest.unwrap() as i64) < late, "{late}: {longest:?}");
        }
    }

    #[test]
    fn at_last_a_look_begins_at_the_start() {
        let first = reaches(6000).iter().position(Option::is_none);
        assert_eq!(first, Some(5 * 1024 - 1));
    }
}
