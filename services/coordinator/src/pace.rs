//! What goes over all attempts at work takes longer the more have ended, for as long as somebody keeps an old transaction open:
//! the longer it takes, the more seldom it is done.

use std::ops::Range;
use std::time::Duration;

/// It rests so many times as long as it took.
const RESTS: u32 = 20;

/// How long to rest. What took long once does not count: the database stood still, perhaps, and there is all the more to do.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    last: Duration,
}

impl Rests {
    /// After it took so long, and within these bounds.
    pub(crate) fn after(&mut self, took: Duration, within: &Range<Duration>) -> Duration {
        let last = std::mem::replace(&mut self.last, took);
        (last.min(took) * RESTS).clamp(within.start, within.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_it_takes_the_longer_the_rest_but_not_when_it_was_once() {
        let mut rests = Rests::default();
        let within = Duration::from_millis(500)..Duration::from_secs(30);
        let mut after = |millis| rests.after(Duration::from_millis(millis), &within).as_millis();
        assert_eq!([100, 100, 50, 6000, 50, 1, 1].map(&mut after), [500, 2000, 1000, 1000, 1000, 500, 500]);
        assert_eq!([60_000, 60_000].map(after), [500, 30_000]);
    }
}
