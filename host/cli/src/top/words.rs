//! Numbers with their units, as short as a column.

use std::time::Duration;

/// Such as `1.2 GB`.
pub(super) fn bytes(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

/// Such as `1.2 k`; numbers below 10,000 are whole.
pub(super) fn number(number: f64) -> String {
    if number < 10_000.0 { format!("{number:.0}") } else { scaled(number, 1000.0, &["", "k", "M", "G", "T"]) }
}

/// A rate of so many a second, with a decimal if it is small.
pub(super) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { number(rate) }
}

/// Such as `1.2 ms`, `3 min 20 s`.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 3600.0 {
        return format!("{} h {} min", time.as_secs() / 3600, time.as_secs() / 60 % 60);
    }
    if seconds >= 60.0 {
        return format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60);
    }
    if time.is_zero() {
        return "0 s".to_owned();
    }
    scaled(seconds * 1e9, 1000.0, &["ns", "µs", "ms", "s"])
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter().peekable();
    let mut unit = units.next().copied().unwrap_or_default();
    // As it is printed: 999.6 is 1000 without decimals.
    while value >= 999.5 && units.peek().is_some() {
        value /= step;
        unit = units.next().copied().unwrap_or_default();
    }
    let decimals = usize::from(value < 9.95 && value.fract() != 0.0);
    format!("{value:.decimals$} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_or_three_digits_and_a_unit() {
        assert_eq!(
            [0.0, 999.4, 999.6, 1234.0, 56_789.0].map(bytes),
            ["0 B", "999 B", "1.0 kB", "1.2 kB", "57 kB"]
        );
        assert_eq!([9_999.0, 10_000.0, 2.5e6].map(number), ["9999", "10 k", "2.5 M"]);
        assert_eq!([0.0, 0.25, 42.4].map(rate), ["0", "0.2", "42"]);
        let times = [0, 1_500, 2_000_000, 59_000_000_000, 200_000_000_000, 7_260_000_000_000];
        let times = times.map(|nanos| time(Duration::from_nanos(nanos)));
        assert_eq!(times, ["0 s", "1.5 µs", "2 ms", "59 s", "3 min 20 s", "2 h 1 min"]);
        assert_eq!(percent(0.714), "71 %");
    }
}
