//! Decides whether a process holds more and more of something, from measurements after equal
//! amounts of work.

use super::report::{Outcome, Verdict};
use crate::protocol::examination::{Mark, Soaked};

/// The number of measurements that count: the windows before them fill caches and pools.
const COUNTED: usize = 4;
/// The least growth of memory over these that counts as a leak; an allocator may keep less than
/// this.
const LEAST_BYTES: u64 = 64 * 1024;
/// A leak is steady: no window grows by less than this share (one in 4) of another.
const STEADY_SHARE: u64 = 4;

/// Decides whether a `unit` of work leaves memory, descriptors or threads behind.
pub(super) fn judge(soaked: &Soaked, unit: &str) -> Verdict {
    let units = soaked.repetitions * (COUNTED as u64 - 1);
    let of = |what: fn(&Mark) -> u64| {
        let marks = &soaked.marks[soaked.marks.len().saturating_sub(COUNTED)..];
        marks.iter().map(what).collect::<Vec<_>>()
    };
    let looks = [
        ("bytes of memory", of(|mark| mark.memory), LEAST_BYTES),
        ("descriptors", of(|mark| mark.descriptors), 1),
        ("threads", of(|mark| mark.threads), 1),
    ];
    let problems = looks.iter().filter_map(|(what, values, least)| {
        let grown = steady_growth(values).filter(|grown| grown >= least)?;
        let each = grown as f64 / units as f64;
        Some((Outcome::Failed, format!("each {unit} leaves {each:.1} {what} behind, {grown} in {units}")))
    });
    let [(_, memory, _), (_, descriptors, _), (_, threads, _)] = &looks;
    let change = |values: &[u64]| values[values.len() - 1] as i64 - values[0] as i64;
    Verdict::of(
        problems.collect(),
        format!(
            "{:+.1} bytes of memory for each {unit}, {:+} descriptors, {:+} threads, over {units} after a warm-up",
            change(memory) as f64 / units as f64,
            change(descriptors),
            change(threads)
        ),
    )
}

/// The sum by which the values grow, if each of them grows, by about the same amount.
fn steady_growth(values: &[u64]) -> Option<u64> {
    let steps: Option<Vec<u64>> = values.windows(2).map(|two| two[1].checked_sub(two[0])).collect();
    let steps = steps?;
    let (least, most) = (*steps.iter().min()?, *steps.iter().max()?);
    (least > 0 && least >= most / STEADY_SHARE).then(|| steps.iter().sum())
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_steady_growth_is_a_leak() {
        assert_eq!(steady_growth(&[10, 20, 30, 40]), Some(30));
        assert_eq!(steady_growth(&[10, 20, 20, 40]), None);
        assert_eq!(steady_growth(&[10, 20, 30, 25]), None);
        // One allocation, and then a little noise.
        assert_eq!(steady_growth(&[10, 1010, 1011, 1012]), None);
    }

    #[test]
    fn the_leaking_resource_is_named() {
        let soaked = |memory: u64, descriptors: u64| Soaked {
            repetitions: 100,
            marks: (0..5)
                .map(|window| Mark {
                    memory: memory * window,
                    descriptors: 5 + descriptors * window,
                    threads: 1,
                })
                .collect(),
            median_nanos: 1,
        };
        let detail = |memory, descriptors| judge(&soaked(memory, descriptors), "message").detail;
        assert_eq!(detail(409_600, 0), "each message leaves 4096.0 bytes of memory behind, 1228800 in 300");
        assert_eq!(detail(4096, 100), "each message leaves 1.0 descriptors behind, 300 in 300");
        assert_eq!(judge(&soaked(4096, 0), "message").outcome, Outcome::Passed);
    }
}
