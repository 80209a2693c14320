//! Lanes in which nothing has happened for long. Lanes are never deleted, and there may be any number of them, one for each label
//! that somebody thought of. Few cost next to nothing to look at; of many, those that are asleep are looked at once a second.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// So many empty lanes are looked at every time.
const FEW: usize = 1000;
/// A lane that has been empty for so long is asleep.
const TIRED: Duration = Duration::from_mins(1);
/// So often all are looked at.
const ALL: Duration = Duration::from_secs(1);

/// See the module. It only saves work.
#[derive(Debug)]
pub(super) struct Asleep {
    /// Lanes that were empty when they were last looked at, and since when.
    empty_since: HashMap<i32, Instant>,
    looked_at_all_at: Instant,
}

impl Asleep {
    pub(super) fn new(now: Instant) -> Self {
        Self { empty_since: HashMap::new(), looked_at_all_at: now }
    }

    /// The lanes that a look by now leaves out.
    pub(super) fn left_out(&mut self, now: Instant) -> HashSet<i32> {
        if self.empty_since.len() <= FEW || now.duration_since(self.looked_at_all_at) >= ALL {
            self.looked_at_all_at = now;
            return HashSet::new();
        }
        let is_asleep = |since: &Instant| now.duration_since(*since) >= TIRED;
        self.empty_since.iter().filter(|(_, since)| is_asleep(since)).map(|(lane, _)| *lane).collect()
    }

    /// Takes note of which lanes a look has found empty, and which not.
    pub(super) fn learn(&mut self, lanes: impl Iterator<Item = (i32, bool)>, now: Instant) {
        for (lane, is_empty) in lanes {
            if is_empty {
                self.empty_since.entry(lane).or_insert(now);
            } else {
                self.empty_since.remove(&lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many lanes that are empty from the beginning.
    fn empty(count: i32, begin: Instant) -> Asleep {
        let mut asleep = Asleep::new(begin);
        asleep.learn((0..count).map(|lane| (lane, true)), begin);
        asleep
    }

    #[test]
    fn few_lanes_are_looked_at_every_time() {
        let begin = Instant::now();
        assert!(empty(1000, begin).left_out(begin + TIRED).is_empty());
    }

    #[test]
    fn of_many_lanes_those_that_have_long_been_empty_are_looked_at_once_a_second() {
        let begin = Instant::now();
        let mut asleep = empty(1001, begin);
        let later = begin + TIRED;
        assert!(asleep.left_out(later).is_empty(), "nobody has looked at all of them for a second");
        assert_eq!(asleep.left_out(later + ALL / 2).len(), 1001);
        assert!(asleep.left_out(later + ALL).is_empty());
    }

    #[test]
    fn a_lane_is_awake_from_when_it_has_a_task_until_it_has_long_had_none() {
        let begin = Instant::now();
        let mut asleep = empty(1002, begin);
        let mut is_left_out = |at: Instant| {
            asleep.looked_at_all_at = at;
            asleep.left_out(at).contains(&7)
        };
        assert!(!is_left_out(begin + TIRED / 2));
        assert!(is_left_out(begin + TIRED));
        asleep.learn([(7, false)].into_iter(), begin + TIRED);
        asleep.learn([(7, true)].into_iter(), begin + 2 * TIRED);
        asleep.looked_at_all_at = begin + 2 * TIRED;
        assert!(!asleep.left_out(begin + 2 * TIRED).contains(&7));
    }
}
