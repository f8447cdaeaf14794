//! How much a run has delivered, and how long its messages took, from the counters in the segment.
//!
//! The values may be garbage that a plugin has written, so that no sum of them may panic.

use cobuf_plugin_api::Schema;

use crate::limits::MAX_WORKERS;
use crate::segment::memory::Segment;
use crate::segment::place::CREWS;
use crate::segment::sync::Ordering;
use crate::segment::worker_place::TIME_CLASSES;

/// The rows and bytes of all delivered batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Volume {
    /// `None` if batches have no rows.
    pub(crate) rows: Option<u64>,
    /// Axes that are at most n count as n.
    pub(crate) bytes: u64,
}

impl Volume {
    /// Of so many batches.
    pub(crate) fn of(segment: &Segment, schema: &Schema, delivered: u64) -> Self {
        let missing = segment.counters().missing_rows.load(Ordering::Relaxed);
        Self::without(missing, schema, delivered)
    }

    fn without(missing: u64, schema: &Schema, delivered: u64) -> Self {
        let rows = schema.rows().map(|rows| delivered.wrapping_mul(rows as u64).saturating_sub(missing));
        let bytes = match (rows, schema.rows()) {
            (Some(rows), Some(most)) if most > 0 => rows.wrapping_mul((schema.bytes() / most) as u64),
            _ => delivered.wrapping_mul(schema.bytes() as u64),
        };
        Self { rows, bytes }
    }
}

/// How many messages took so long, all workers together, in the classes of `WorkerPlace::times`. For a
/// run that has had so many workers at most.
pub(crate) fn produce_times(segment: &Segment, most_workers: usize) -> [u64; TIME_CLASSES] {
    let places = &segment.worker_places()[..most_workers.min(MAX_WORKERS) * CREWS];
    std::array::from_fn(|class| {
        let times = places.iter().map(|place| place.times[class].load(Ordering::Relaxed));
        times.fold(0, u64::wrapping_add)
    })
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use cobuf_plugin_api::{ArraySpec, DType};

    fn schema(arrays: Vec<ArraySpec>) -> Schema {
        Schema::new(arrays).unwrap()
    }

    #[test]
    fn short_batches_count_their_rows_only() {
        let rows = schema(vec![
            ArraySpec::new("image", DType::F32, [64, 8]),
            ArraySpec::new("label", DType::I64, [64]),
        ]);
        let volume = Volume::without(6, &rows, 10);
        assert_eq!(volume, Volume { rows: Some(634), bytes: 634 * (8 * 4 + 8) });
        assert_eq!(Volume::without(u64::MAX, &rows, u64::MAX).rows, Some(0));
    }

    #[test]
    fn batches_without_rows_count_whole() {
        let none = schema(vec![ArraySpec::new("a", DType::U8, [3]), ArraySpec::new("b", DType::U8, [5])]);
        assert_eq!(Volume::without(0, &none, 10), Volume { rows: None, bytes: 80 });
    }
}
