//! Numbers, times and ids for people.

use prost_types::Timestamp;

/// `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 days 4 h`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..172_800 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} days {} h", whole / 86_400, whole / 3600 % 24),
    }
}

/// `12.5 urls/s`, or by the minute or hour where a second sees less than one; nothing while unknown.
pub(crate) fn rate(per_second: f64, unit: &str) -> String {
    if per_second <= 0.0 {
        return String::new();
    }
    let (rate, per) = match per_second {
        0.1.. => (per_second, "s"),
        0.002.. => (60.0 * per_second, "min"),
        _ => (3600.0 * per_second, "h"),
    };
    let rate = if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") };
    if unit.is_empty() { format!("{rate}/{per}") } else { format!("{rate} {unit}/{per}") }
}

/// `1.4 GiB`.
pub(crate) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
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

/// A point in time to the second, `2026-03-01 03:00:00Z`; nothing where it is unset.
pub(crate) fn time(at: Option<&Timestamp>) -> String {
    let Some(at) = at else { return String::new() };
    Timestamp { seconds: at.seconds, nanos: 0 }.to_string().replace('T', " ")
}

/// Seconds from one point in time to another.
pub(crate) fn seconds_between(from: &Timestamp, to: &Timestamp) -> f64 {
    (to.seconds - from.seconds) as f64 + f64::from(to.nanos - from.nanos) / 1e9
}

/// The part of an id that tells it from others: those of the same time begin alike.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(28..).filter(|end| !end.is_empty()).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_the_fitting_units() {
        assert_eq!(duration(0.84), "0.8 s");
        assert_eq!(duration(185.0), "3 min 5 s");
        assert_eq!(duration(7800.0), "2 h 10 min");
        assert_eq!(duration(273_600.0), "3 days 4 h");
        assert_eq!(time(Some(&Timestamp { seconds: 1_800_000_000, nanos: 5 })), "2027-01-15 08:00:00Z");
    }

    #[test]
    fn rates_are_numbers_one_can_read() {
        assert_eq!(rate(0.0, "urls"), "");
        assert_eq!(rate(12.54, "urls"), "12.5 urls/s");
        assert_eq!(rate(0.05, "epochs"), "3.0 epochs/min");
        assert_eq!(rate(0.001, ""), "3.6/h");
        assert_eq!(rate(1234.0, "tasks"), "1234 tasks/s");
    }

    #[test]
    fn shares_are_told_in_percent() {
        assert_eq!((percent(0.0213), percents((0.0073, 0.0607))), ("2.1 %".into(), "0.7–6.1 %".into()));
    }

    #[test]
    fn sizes_take_the_fitting_unit() {
        assert_eq!(bytes(80 << 30), "80.0 GiB");
        assert_eq!(bytes(1023), "1023 B");
    }

    #[test]
    fn ids_are_shortened_to_what_differs() {
        assert_eq!(short_id("0193a1b2-c3d4-7e5f-8a6b-123456789abc"), "56789abc");
        assert_eq!(short_id("short"), "short");
    }
}
