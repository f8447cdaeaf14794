//! Measures a rate: warms up, then counts batches for a time.

use std::time::Instant;

use anyhow::Result;

/// The least time for which batches are taken before the clock starts: buffers are touched, caches are warm.
const WARM_UP_SECONDS: f64 = 0.3;

/// Seconds a batch of a stream whose next batch `next` takes.
///
/// `stride` batches are taken between two looks at the clock. With several workers it is a multiple of their number, as
/// their batches may come in bursts.
pub(crate) fn seconds_a_batch(
    seconds: f64,
    stride: usize,
    mut next: impl FnMut() -> Result<()>,
) -> Result<f64> {
    let mut run = |seconds: f64| -> Result<f64> {
        let (started, mut batches) = (Instant::now(), 0.0);
        loop {
            for _ in 0..stride {
                next()?;
            }
            batches += stride as f64;
            let elapsed = started.elapsed().as_secs_f64();
            if elapsed >= seconds {
                return Ok(elapsed / batches);
            }
        }
    };
    run(WARM_UP_SECONDS)?;
    run(seconds)
}

/// The median of the times, in seconds, that `start` gives, for about so many seconds and at least once.
pub(crate) fn median_start(seconds: f64, mut start: impl FnMut() -> Result<f64>) -> Result<f64> {
    /// More starts would not make the median any better.
    const MOST_STARTS: usize = 50;
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || began.elapsed().as_secs_f64() < seconds && times.len() < MOST_STARTS {
        times.push(start()?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn are_whole_strides_counted() {
        let mut taken = 0;
        let rate = seconds_a_batch(0.01, 4, || {
            taken += 1;
            Ok(())
        });
        assert!(rate.unwrap() > 0.0);
        assert_eq!(taken % 4, 0);
        assert!(seconds_a_batch(1.0, 4, || bail!("ended")).is_err());
    }

    #[test]
    fn is_something_started_at_least_once() {
        let mut times = [3.0].into_iter();
        assert_eq!(median_start(0.0, || Ok(times.next().unwrap())).unwrap(), 3.0);
    }
}
