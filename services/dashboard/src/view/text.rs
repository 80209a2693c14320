//! Numbers, sizes and times for people.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// `1 234 567`, with narrow no-break spaces.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1.4 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" || value >= 100.0 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// `4.2 %` of a fraction.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// `0.7–6.1 %` of two fractions.
pub(crate) fn percents((low, high): (f64, f64)) -> String {
    format!("{:.1}–{:.1} %", 100.0 * low, 100.0 * high)
}

/// The wire's form of a point in time, or nothing where it is unset or none.
pub(crate) fn instant(at: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let at = at?;
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}

/// `just now`, `12 s ago`, `3 min ago`, `5 h ago`, `2 days ago`.
pub(crate) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    match seconds {
        ..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// `now`, `in 12 s`, `in 3 min`, `in 5 h`, `in 2 days`.
pub(crate) fn ahead(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (at - now).num_seconds();
    match seconds {
        ..1 => "now".to_owned(),
        1..60 => format!("in {seconds} s"),
        60..3600 => format!("in {} min", seconds / 60),
        3600..172_800 => format!("in {} h", seconds / 3600),
        _ => format!("in {} days", seconds / 86_400),
    }
}

/// From one point in time to another, as [`seconds`] tells it.
pub(crate) fn duration(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    seconds((to - from).num_milliseconds() as f64 / 1000.0)
}

/// `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// `12.5 urls/s`, or by the minute or hour where a second sees less than one.
pub(crate) fn rate(per_second: f64, unit: &str) -> String {
    let (rate, per) = match per_second {
        0.1.. => (per_second, "s"),
        0.002.. => (60.0 * per_second, "min"),
        _ => (3600.0 * per_second, "h"),
    };
    let rate = if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") };
    format!("{rate} {unit}/{per}")
}

/// The part of an id that tells it from others: digests begin differently, time-ordered UUIDs end differently.
pub(crate) fn short_id(id: &str) -> &str {
    let start = if id.len() == 36 { 28 } else { 0 };
    let end = if id.len() == 36 { 36 } else { id.len().min(12) };
    id.get(start..end).unwrap_or(id)
}

/// At most `limit` characters, with a sign that something is missing.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn shares_are_told_in_percent() {
        assert_eq!((percent(0.0213), percents((0.0073, 0.0607))), ("2.1 %".into(), "0.7–6.1 %".into()));
    }

    #[test]
    fn sizes_take_the_fitting_unit() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(300 << 20), "300 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn times_are_told_in_one_unit() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let told = |seconds| ago(now - TimeDelta::seconds(seconds), now);
        assert_eq!(told(-30), "just now");
        assert_eq!(told(59), "59 s ago");
        assert_eq!(told(3599), "59 min ago");
        assert_eq!(told(200_000), "2 days ago");
        assert_eq!(duration(now, now + TimeDelta::milliseconds(850)), "0.8 s");
        assert_eq!(duration(now, now + TimeDelta::seconds(185)), "3 min 5 s");
        let due = |seconds| ahead(now + TimeDelta::seconds(seconds), now);
        assert_eq!((due(-5), due(59), due(7200)), ("now".into(), "in 59 s".into(), "in 2 h".into()));
    }

    #[test]
    fn slow_rates_are_told_by_the_minute_or_hour() {
        assert_eq!(rate(12.54, "urls"), "12.5 urls/s");
        assert_eq!(rate(0.05, "epochs"), "3.0 epochs/min");
        assert_eq!(rate(0.001, "epochs"), "3.6 epochs/h");
    }

    #[test]
    fn ids_are_shortened_to_what_differs() {
        assert_eq!(short_id("0193a1b2-c3d4-7e5f-8a6b-123456789abc"), "56789abc");
        assert_eq!(short_id(&"ab".repeat(32)), "abababababab");
        assert_eq!(short_id("é"), "é");
    }

    #[test]
    fn cutting_respects_characters() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
