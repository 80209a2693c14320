//! Schedules: when a pipeline is submitted by the clock.
//!
//! A cron expression is read on the wall clock of a time zone. Where that clock is set ahead, a time that does not exist
//! stands for the first instant after the gap; where it is set back, a time that occurs twice counts once, the first
//! time. What has to come at even intervals all the year round belongs into UTC.

use std::collections::VecDeque;

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use crate::lifecycle::words;
use crate::pipeline::nearest;

/// The most times that are made up for.
pub const MAX_MISSED: usize = 100;
/// A time that passed no longer ago than this was not missed, only met a little late.
pub const PUNCTUAL: TimeDelta = TimeDelta::minutes(1);

const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];

/// When to submit.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    time_zone: Tz,
}

/// What happens to times that passed while nobody was there to submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One submission stands for all of them.
    #[default]
    Once,
    /// Each is made up for, the last [`MAX_MISSED`] at most.
    All,
}

words!(Missed, "missed-run policy", {
    Skip => "skip",
    Once => "once",
    All => "all",
});

/// Why a schedule is refused. Every message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("cron {text:?} has {count} fields; give five: {}; for instance \"30 3 * * mon-fri\"", FIELDS.join(", "))]
    FieldCount {
        /// What stands there.
        text: String,
        /// How many fields that is.
        count: usize,
    },
    /// A field that cannot be.
    #[error("cron: the {field} field {text:?} cannot be read: {reason}")]
    BadField {
        /// Which one.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A time zone that is not one.
    #[error("time_zone {name:?} is not known{}; use a name of the IANA database, for instance \"Europe/Berlin\" or \"UTC\"",
        did_you_mean(.nearest.as_deref()))]
    UnknownTimeZone {
        /// What stands there.
        name: String,
        /// A zone with a similar name.
        nearest: Option<String>,
    },
    /// No such time will come.
    #[error("cron {0:?} never comes: look at the days and the month")]
    Never(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean {name:?}?")).unwrap_or_default()
}

/// What to do about a schedule that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// The time to submit for; `None` when what was due is skipped.
    pub submit: Option<DateTime<Utc>>,
    /// When it is due next: in the past while there is more to make up for; `None` when it never will be.
    pub next: Option<DateTime<Utc>>,
}

impl Schedule {
    /// Reads five fields, minute first, and the name of a time zone. Beyond what every cron reads, `L`, `W` and `#` are
    /// understood.
    ///
    /// # Errors
    /// The first thing that cannot be read.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Self, ScheduleError> {
        let time_zone = time_zone.parse().map_err(|_| ScheduleError::UnknownTimeZone {
            name: time_zone.to_owned(),
            nearest: nearest(time_zone, TZ_VARIANTS.iter().map(|zone| zone.name())).map(str::to_owned),
        })?;
        Ok(Self { cron: parse_cron(cron)?, time_zone })
    }

    /// The first time after `after`.
    ///
    /// # Errors
    /// [`ScheduleError::Never`] when there is none.
    pub fn first_after(&self, after: DateTime<Utc>) -> Result<DateTime<Utc>, ScheduleError> {
        self.next_after(after).ok_or_else(|| ScheduleError::Never(self.cron.as_str().to_ascii_lowercase()))
    }

    /// The first time after `after`; `None` when there is none.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut wall = after.with_timezone(&self.time_zone).naive_local();
        loop {
            wall = self.cron.find_next_occurrence(&wall.and_utc(), false).ok()?.naive_utc();
            // Of a time that occurs twice, the first may be over; several that do not exist stand for one instant.
            let at = self.instant(wall)?;
            if at > after {
                return Some(at);
            }
        }
    }

    /// What to do at `now`, given that it has been due since `due`.
    pub fn fire(&self, missed: Missed, due: DateTime<Utc>, now: DateTime<Utc>) -> Firing {
        let next = self.next_after(now);
        let most = if missed == Missed::All { MAX_MISSED } else { 1 };
        let mut times = self.last(most, due, now).into_iter();
        match times.next() {
            Some(late) if missed == Missed::Skip && now - late > PUNCTUAL => Firing { submit: None, next },
            submit => Firing { submit, next: times.next().or(next) },
        }
    }

    /// The last `most` times from `from` to `until`, oldest first.
    fn last(&self, most: usize, from: DateTime<Utc>, until: DateTime<Utc>) -> VecDeque<DateTime<Utc>> {
        // A clock of every minute that hung for years is not walked through from its beginning.
        let spans = [TimeDelta::hours(1), TimeDelta::days(1), TimeDelta::days(30), TimeDelta::days(400)];
        for span in spans.into_iter().filter(|span| *span < until - from) {
            let times = self.between(most, until - span, until);
            if times.len() == most {
                return times;
            }
        }
        self.between(most, from, until)
    }

    fn between(&self, most: usize, from: DateTime<Utc>, until: DateTime<Utc>) -> VecDeque<DateTime<Utc>> {
        let mut times = VecDeque::with_capacity(most);
        let mut next = self.next_after(from - TimeDelta::nanoseconds(1));
        while let Some(at) = next.filter(|at| *at <= until) {
            if times.len() == most {
                times.pop_front();
            }
            times.push_back(at);
            next = self.next_after(at);
        }
        times
    }

    /// When the clock shows `wall`.
    fn instant(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        let at = self.time_zone.from_local_datetime(&wall).earliest();
        at.or_else(|| GapInfo::new(&wall, &self.time_zone)?.end).map(|at| at.to_utc())
    }
}

fn parse_cron(text: &str) -> Result<Cron, ScheduleError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(ScheduleError::FieldCount { text: text.to_owned(), count: fields.len() });
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    // Alone among stars, so that the one that is wrong can be named.
    for (place, field) in fields.iter().enumerate() {
        let mut alone = ["*"; FIELDS.len()];
        alone[place] = field;
        if let Err(error) = parser.parse(&alone.join(" ")) {
            let reason = error.to_string();
            return Err(ScheduleError::BadField { field: FIELDS[place], text: (*field).to_owned(), reason });
        }
    }
    parser.parse(&fields.join(" ")).map_err(|error| ScheduleError::BadField {
        field: "whole",
        text: text.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(cron: &str, time_zone: &str) -> Schedule {
        Schedule::parse(cron, time_zone).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    /// The next `count` times, as the clock of the time zone shows them, with its distance from UTC.
    fn times(cron: &str, time_zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = schedule(cron, time_zone);
        let first = schedule.next_after(at(after));
        std::iter::successors(first, |last| schedule.next_after(*last))
            .take(count)
            .map(|time| time.with_timezone(&schedule.time_zone).format("%m-%d %H:%M %z").to_string())
            .collect()
    }

    #[test]
    fn a_time_that_does_not_exist_comes_at_the_next_instant_that_does() {
        // On 29 March 2026 Berlin's clocks go from 02:00 to 03:00.
        let before = "2026-03-28T12:00:00+01:00";
        let cases: [(&str, &[&str]); 4] = [
            ("30 2 * * *", &["03-29 03:00 +0200", "03-30 02:30 +0200"]),
            ("0 2 * * *", &["03-29 03:00 +0200", "03-30 02:00 +0200"]),
            // Those of the hour that is left out and the one after it are one and the same.
            ("0 2,3 * * *", &["03-29 03:00 +0200", "03-30 02:00 +0200"]),
            ("30 1-3 * * *", &["03-29 01:30 +0100", "03-29 03:00 +0200", "03-29 03:30 +0200", "03-30 01:30 +0200"]),
        ];
        for (cron, expected) in cases {
            assert_eq!(times(cron, "Europe/Berlin", before, expected.len()), expected, "{cron}");
        }
    }

    #[test]
    fn a_time_that_occurs_twice_comes_once_the_first_time() {
        // On 25 October 2026 Berlin's clocks go from 03:00 back to 02:00.
        let before = "2026-10-24T12:00:00+02:00";
        let cases: [(&str, &[&str]); 3] = [
            ("30 2 * * *", &["10-25 02:30 +0200", "10-26 02:30 +0100"]),
            ("0 3 * * *", &["10-25 03:00 +0100", "10-26 03:00 +0100"]),
            ("0 1-3 * * *", &["10-25 01:00 +0200", "10-25 02:00 +0200", "10-25 03:00 +0100", "10-26 01:00 +0100"]),
        ];
        for (cron, expected) in cases {
            assert_eq!(times(cron, "Europe/Berlin", before, expected.len()), expected, "{cron}");
        }
        let within = ["2026-10-25T02:10:00+01:00", "2026-10-25T02:50:00+02:00"];
        for after in within {
            assert_eq!(times("30 2 * * *", "Europe/Berlin", after, 1), ["10-26 02:30 +0100"], "{after}");
        }
    }

    #[test]
    fn days_are_read_as_cron_reads_them() {
        let cases: [(&str, &str, &[&str]); 6] = [
            ("15 6 * * mon-fri", "2026-05-01T12:00:00Z", &["05-04 06:15 +0000", "05-05 06:15 +0000"]),
            // Either day when both are given.
            ("0 0 13 * fri", "2026-05-01T12:00:00Z", &["05-08 00:00 +0000", "05-13 00:00 +0000", "05-15 00:00 +0000"]),
            ("0 12 29 2 *", "2026-01-01T00:00:00Z", &["02-29 12:00 +0000"]),
            (
                "*/20 23 31 12 *",
                "2026-12-31T23:10:00Z",
                &["12-31 23:20 +0000", "12-31 23:40 +0000", "12-31 23:00 +0000"],
            ),
            ("0 0 * * 7", "2026-05-01T00:00:00Z", &["05-03 00:00 +0000", "05-10 00:00 +0000"]),
            ("0 18 L * *", "2026-02-01T00:00:00Z", &["02-28 18:00 +0000", "03-31 18:00 +0000"]),
        ];
        for (cron, after, expected) in cases {
            assert_eq!(times(cron, "UTC", after, expected.len()), expected, "{cron}");
        }
    }

    #[test]
    fn a_day_that_a_place_left_out_is_made_up_for_on_the_next() {
        // Samoa went from 29 to 31 December 2011.
        assert_eq!(times("0 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", 1), ["12-31 00:00 +1400"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let cases = [
            ("", "UTC", "has 0 fields"),
            ("@daily", "UTC", "has 1 fields; give five: minute, hour"),
            ("0 0 * * * *", "UTC", "has 6 fields"),
            ("60 * * * *", "UTC", "the minute field \"60\""),
            ("0 24 * * *", "UTC", "the hour field \"24\""),
            ("0 0 0 * *", "UTC", "the day of the month field \"0\""),
            ("0 0 * foo *", "UTC", "the month field \"foo\""),
            ("0 0 * * 8", "UTC", "the day of the week field \"8\""),
            ("5-1 * * * *", "UTC", "the minute field \"5-1\""),
            ("*/0 * * * *", "UTC", "the minute field \"*/0\""),
            ("* * * * *", "Europe/Berlni", "did you mean \"Europe/Berlin\"?"),
            ("* * * * *", "nowhere at all", "use a name of the IANA database"),
            ("* * * * *", "", "time_zone \"\" is not known"),
        ];
        for (cron, time_zone, expected) in cases {
            let message = Schedule::parse(cron, time_zone).unwrap_err().to_string();
            assert!(message.contains(expected), "{cron}: {message}");
        }
        let never = schedule("0 0 30 2 *", "UTC").first_after(at("2026-01-01T00:00:00Z")).unwrap_err();
        assert!(never.to_string().contains("never comes"), "{never}");
    }

    #[test]
    fn missed_times_are_made_up_for_as_asked() {
        let hourly = schedule("0 * * * *", "UTC");
        let (due, now) = (at("2026-05-01T01:00:00Z"), at("2026-05-01T03:30:00Z"));
        let fire = |missed| hourly.fire(missed, due, now);
        let next = Some(at("2026-05-01T04:00:00Z"));
        assert_eq!(fire(Missed::Skip), Firing { submit: None, next });
        assert_eq!(fire(Missed::Once), Firing { submit: Some(at("2026-05-01T03:00:00Z")), next });
        let second = Some(at("2026-05-01T02:00:00Z"));
        assert_eq!(fire(Missed::All), Firing { submit: Some(due), next: second });
    }

    #[test]
    fn a_time_met_a_little_late_was_not_missed() {
        let hourly = schedule("0 * * * *", "UTC");
        let (due, next) = (at("2026-05-01T03:00:00Z"), Some(at("2026-05-01T04:00:00Z")));
        for missed in Missed::ALL {
            let firing = hourly.fire(*missed, due, at("2026-05-01T03:00:59Z"));
            assert_eq!(firing, Firing { submit: Some(due), next }, "{missed}");
        }
        assert_eq!(hourly.fire(Missed::Skip, due, at("2026-05-01T03:01:01Z")), Firing { submit: None, next });
    }

    #[test]
    fn no_more_than_the_last_hundred_are_made_up_for() {
        let every_minute = schedule("* * * * *", "UTC");
        let (mut due, now) = (at("1999-01-01T00:00:00Z"), at("2026-05-01T00:00:30Z"));
        let mut submitted = Vec::new();
        while due <= now {
            let firing = every_minute.fire(Missed::All, due, now);
            submitted.extend(firing.submit);
            due = firing.next.unwrap();
        }
        assert_eq!(submitted.len(), MAX_MISSED);
        assert_eq!(submitted.last(), Some(&at("2026-05-01T00:00:00Z")));
        assert_eq!(due, at("2026-05-01T00:01:00Z"));
    }

    const ZONES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"];

    /// A valid expression and time zone, and an instant of this century's first decades.
    fn any_schedule() -> impl Strategy<Value = (String, &'static str, DateTime<Utc>)> {
        let minute = prop_oneof![Just("*".to_owned()), (0..60_u32).prop_map(|m| m.to_string()), Just("*/7".to_owned())];
        let hour = prop_oneof![Just("*".to_owned()), (0..24_u32).prop_map(|h| h.to_string()), Just("1-4".to_owned())];
        let day = prop_oneof![Just("*".to_owned()), (1..29_u32).prop_map(|d| d.to_string())];
        let zone = proptest::sample::select(&ZONES[..]);
        let instant = (946_684_800_i64..2_000_000_000).prop_map(|s| DateTime::from_timestamp(s, 0).unwrap());
        (minute, hour, day, zone, instant)
            .prop_map(|(m, h, d, zone, instant)| (format!("{m} {h} {d} * *"), zone, instant))
    }

    proptest! {
        #[test]
        fn the_next_time_is_later_whole_and_the_same_from_anywhere_before((cron, zone, after) in any_schedule()) {
            let schedule = schedule(&cron, zone);
            let next = schedule.next_after(after).unwrap();
            prop_assert!(next > after);
            prop_assert_eq!(next.timestamp() % 60, 0);
            let half = after + (next - after) / 2;
            prop_assert_eq!(schedule.next_after(half), Some(next), "nothing lies between");
            prop_assert!(schedule.next_after(next).unwrap() > next);
        }

        #[test]
        fn a_firing_moves_on_and_submits_only_what_has_come((cron, zone, due) in any_schedule(), late in 0..90_000_i64) {
            let schedule = schedule(&cron, zone);
            let due = schedule.next_after(due).unwrap();
            let now = due + TimeDelta::seconds(late);
            for missed in Missed::ALL {
                let firing = schedule.fire(*missed, due, now);
                let next = firing.next.unwrap();
                prop_assert!(next > due);
                prop_assert!(*missed == Missed::All || next > now);
                if let Some(submit) = firing.submit {
                    prop_assert!(submit >= due && submit <= now && submit < next);
                }
            }
        }
    }
}
