//! Numbers on the command line. clap names the option and the value that was given; these parsers
//! name unit and range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use cobuf_host::{Workers, limits};

/// A whole number in a range.
pub(crate) fn whole<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone
where
    N: TryFrom<u64> + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse::<u64>().ok().and_then(|number| N::try_from(number).ok());
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("expected a whole number, {} to {}", range.start(), range.end()))
    }
}

/// The number of workers.
pub(crate) fn number_of_workers() -> impl Fn(&str) -> Result<usize, String> + Clone {
    whole(1..=limits::MAX_WORKERS)
}

/// The number of workers, or `auto`.
pub(crate) fn workers(text: &str) -> Result<Workers, String> {
    match text {
        "auto" => Ok(Workers::auto()),
        number => number_of_workers()(number)
            .map(Workers::Fixed)
            .map_err(|_| format!("expected 1 to {}, or \"auto\"", limits::MAX_WORKERS)),
    }
}

/// The number of slots.
pub(crate) fn slots(text: &str) -> Result<usize, String> {
    whole(1..=limits::MAX_SLOTS)(text)
}

/// The time that a process may take for a message.
pub(crate) fn deadline(text: &str) -> Result<Duration, String> {
    seconds(limits::MIN_TIMEOUT)(text)
}

/// A time in seconds, with a fraction or not, of at least this length.
pub(crate) fn seconds(least: Duration) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        time.filter(|&time| time >= least)
            .ok_or_else(|| format!("expected a number of seconds, {} or more", least.as_secs_f64()))
    }
}

/// A number of events in a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected a number in a second, above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_up_to_the_ends_of_their_range() {
        let seed = whole(0..=u64::MAX);
        assert_eq!((seed("0"), seed("18446744073709551615")), (Ok(0), Ok(u64::MAX)));
        for wrong in ["", "-1", "1.0", "0x1", "18446744073709551616", " 1"] {
            assert_eq!(seed(wrong).unwrap_err(), "expected a whole number, 0 to 18446744073709551615");
        }
        let attempts = whole(1..=5_u32);
        assert_eq!((attempts("1"), attempts("5")), (Ok(1), Ok(5)));
        for wrong in ["0", "6", "4294967297"] {
            assert_eq!(attempts(wrong).unwrap_err(), "expected a whole number, 1 to 5");
        }
    }

    #[test]
    fn workers_are_a_number_or_auto() {
        assert_eq!(workers("1024"), Ok(Workers::Fixed(1024)));
        assert_eq!(workers("auto"), Ok(Workers::auto()));
        for wrong in ["0", "1025", "Auto", ""] {
            assert_eq!(workers(wrong).unwrap_err(), "expected 1 to 1024, or \"auto\"");
        }
    }

    #[test]
    fn times_are_seconds_of_a_least_length() {
        assert_eq!(deadline("0.02"), Ok(Duration::from_millis(20)));
        assert_eq!(deadline("30"), Ok(Duration::from_secs(30)));
        for wrong in ["0", "0.019", "-1", "nan", "inf", "1s", ""] {
            assert_eq!(deadline(wrong).unwrap_err(), "expected a number of seconds, 0.02 or more");
        }
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "many"] {
            rate(wrong).unwrap_err();
        }
    }
}
