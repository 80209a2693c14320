//! Whether leases are renewed, and since when. Where none is, since Postgres is away or stands still, or this coordinator does,
//! or the whole machine sleeps, those of workers that are alive run out like those of the others. So it is not enough that a
//! lease ran out: it is taken back only when whoever is alive has had the time to come back and to report.
//!
//! All times are the database's, as those of leases are: each beat that comes through says when that was.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use ursa_proto::{SESSION_LONGEST_WAIT, SESSION_SILENCE};

use crate::config::Config;

/// See the module.
#[derive(Debug)]
pub(crate) struct Renewals {
    times: Times,
    beats: Mutex<Option<Beats>>,
}

impl Renewals {
    /// Before the first beat.
    pub(crate) fn new(config: &Config) -> Self {
        Self { times: Times::of(config), beats: Mutex::default() }
    }

    fn beats(&self) -> MutexGuard<'_, Option<Beats>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a beat that came through.
    pub(crate) fn came_through(&self, at: DateTime<Utc>) {
        let mut beats = self.beats();
        *beats = Some(self.times.after(*beats, at));
    }

    /// When it means something that a lease has run out, or that an attempt does not get on: from when whoever is alive has
    /// reported, to when another beat should have come through. Where that ends before it begins, it means nothing for now.
    pub(crate) fn well(&self) -> Range<DateTime<Utc>> {
        let beats = *self.beats();
        beats.map_or(DateTime::UNIX_EPOCH..DateTime::UNIX_EPOCH, |beats| self.times.well(beats))
    }
}

/// How long what takes.
#[derive(Debug, Clone, Copy)]
struct Times {
    lease: Duration,
    /// Between two beats it is never longer, unless something keeps them from coming through.
    between_beats: Duration,
    /// Until a worker that gave up its session has another one, at most.
    way_back: Duration,
    report_interval: Duration,
}

/// Those that came through.
#[derive(Debug, Clone, Copy)]
struct Beats {
    last: DateTime<Utc>,
    well_since: DateTime<Utc>,
}

impl Times {
    fn of(config: &Config) -> Self {
        Self {
            lease: config.lease,
            // What was renewed before a gap of half a lease has not run out after it.
            between_beats: (config.lease / 2).max(config.report_interval * 2),
            way_back: SESSION_LONGEST_WAIT + SESSION_SILENCE.max(config.patience()),
            report_interval: config.report_interval,
        }
    }

    /// With another one. Before the first, workers had no coordinator, perhaps; and of times before a clock was set back nothing
    /// is known.
    fn after(&self, beats: Option<Beats>, at: DateTime<Utc>) -> Beats {
        let Some(beats) = beats.filter(|beats| beats.last <= at) else {
            return Beats { last: at, well_since: at + self.lease };
        };
        let gap = (at - beats.last).to_std().unwrap_or_default();
        let well_since = if gap > self.between_beats { at + self.grace(gap) } else { beats.well_since };
        Beats { last: at, well_since: well_since.max(beats.well_since) }
    }

    /// How long after a gap leases that ran out are left. Workers try again the more seldom the longer they have, but never wait
    /// for longer than they already have: after a short gap they are soon back. Then they report.
    fn grace(&self, gap: Duration) -> Duration {
        gap.min(self.way_back) + self.report_interval
    }

    fn well(&self, beats: Beats) -> Range<DateTime<Utc>> {
        beats.well_since..beats.last + self.between_beats
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// As they are by default.
    const TIMES: Times = Times {
        lease: Duration::from_secs(10),
        between_beats: Duration::from_secs(5),
        way_back: Duration::from_secs(11),
        report_interval: Duration::from_secs(2),
    };

    /// From when to when leases that ran out are taken back, in seconds, after beats at these.
    fn well_after(beats: impl IntoIterator<Item = i64>) -> (i64, i64) {
        let at = |second| DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let beats = beats.into_iter().fold(None, |beats, second| Some(TIMES.after(beats, at(second))));
        let well = TIMES.well(beats.unwrap());
        (well.start.timestamp(), well.end.timestamp())
    }

    /// Until the second 130, and then at these.
    fn well_after_a_gap(beats: impl IntoIterator<Item = i64>) -> (i64, i64) {
        well_after((100..=130).chain(beats))
    }

    #[test]
    fn leases_are_left_for_as_long_as_one_after_the_start_and_taken_back_while_beats_come_through() {
        assert_eq!(well_after([100]), (110, 105));
        assert_eq!(well_after(100..=130), (110, 135));
        assert_eq!(well_after_a_gap([134]), (110, 139), "of those that were renewed before none has run out meanwhile");
    }

    #[test]
    fn after_a_gap_they_are_left_for_as_long_as_it_was_but_no_longer_than_workers_take_to_come_back() {
        assert_eq!(well_after_a_gap([136]), (136 + 6 + 2, 141));
        assert_eq!(well_after_a_gap([150]), (150 + 11 + 2, 155));
        assert_eq!(well_after_a_gap([4000]), (4000 + 11 + 2, 4005));
        assert_eq!(well_after_a_gap(4000..4060), (4000 + 11 + 2, 4064), "that is over at some time");
    }

    #[test]
    fn of_two_gaps_each_has_its_time() {
        assert_eq!(well_after_a_gap([150, 151, 152, 158]), (158 + 6 + 2, 163));
        assert_eq!(well_after_a_gap([150, 156]), (156 + 6 + 2, 161));
        assert_eq!(well_after_a_gap([1000, 1001, 1007]), (1007 + 6 + 2, 1012));
        assert_eq!(well_after_a_gap([140, 141, 147, 148]), (147 + 6 + 2, 153));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        assert_eq!(well_after_a_gap([4000, 50]), (60, 55));
    }

    #[test]
    fn before_the_first_beat_nothing_is_taken_back() {
        let renewals = Renewals { times: TIMES, beats: Mutex::default() };
        assert!(renewals.well().is_empty());
        renewals.came_through(DateTime::UNIX_EPOCH + TimeDelta::seconds(100));
        renewals.came_through(DateTime::UNIX_EPOCH + TimeDelta::seconds(106));
        assert_eq!(renewals.well().end.timestamp(), 111);
    }
}
