//! Numbers, times and sizes as people read them.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// A number with its thousands apart: `100,000`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time at the precision that matters: `0.8 s`, `42 s`, `3 min 20 s`, `5 h 12 min`.
#[must_use]
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds @ 7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// How many of something there were a second; all of them when it took no time.
#[must_use]
pub fn per_second(number: u64, time: Duration) -> u64 {
    let millis = time.as_millis().max(1);
    u64::try_from(u128::from(number) * 1_000 / millis).unwrap_or(u64::MAX)
}

/// How long ago something was: `3 min 20 s ago`.
pub(crate) fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match now.signed_duration_since(then) {
        age if age < TimeDelta::seconds(1) => "just now".to_owned(),
        age => format!(
            "{} ago",
            duration(Duration::from_secs(age.num_seconds().unsigned_abs()))
        ),
    }
}

/// A point in time, to the millisecond.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A size in the unit that suits it: `3.2 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    let Some((unit, scale)) = UNITS.into_iter().find(|(_, scale)| bytes >= *scale) else {
        return format!("{bytes} bytes");
    };
    let tenths = bytes / (scale / 10);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A number of things, in the singular or plural: `1 event`, `2 events`.
#[must_use]
pub fn things(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}

/// Text from elsewhere without anything that a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn durations_are_as_precise_as_they_matter() {
        for (seconds, text) in [
            (0.84, "0.8 s"),
            (42.9, "42 s"),
            (200.0, "3 min 20 s"),
            (18_720.0, "5 h 12 min"),
            (345_600.0, "4 days"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn sizes_have_a_unit_that_suits_them() {
        for (bytes, text) in [
            (12, "12 bytes"),
            (1_000, "1.0 kB"),
            (3_250_000, "3.2 MB"),
            (7_000_000_000, "7.0 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(
            plain("a\u{1b}[2Jb\u{9b}c\nd"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"
        );
    }

    #[test]
    fn no_time_at_all_gives_a_rate_all_the_same() {
        assert_eq!(per_second(100_000, Duration::from_millis(800)), 125_000);
        assert_eq!(per_second(5, Duration::ZERO), 5_000);
    }
}
