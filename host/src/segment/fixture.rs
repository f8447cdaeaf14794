//! A small segment, for tests and for the benchmarks of parts.

use std::sync::atomic::AtomicU32;

use cobuf_plugin_api::{ArraySpec, DType, Schema};

use super::layout::{Layout, Sizes};
use super::memory::Segment;
use super::sync::Ordering;
use crate::limits::{MIN_MESSAGE_CAPACITY, MIN_METADATA_CAPACITY};

/// A segment with this many slots, each with one array of 16 bytes.
pub(crate) fn segment(slots: usize) -> Segment {
    static SEGMENTS: AtomicU32 = AtomicU32::new(0);
    let number = SEGMENTS.fetch_add(1, Ordering::Relaxed);
    let name = format!("/cobuf-parts-{}-{number}", std::process::id());
    let schema =
        Schema::new([ArraySpec::new("x", DType::U8, [16])]).unwrap_or_else(|error| panic!("{error}"));
    let layout = Layout::new(Sizes {
        slots,
        message_capacity: MIN_MESSAGE_CAPACITY,
        metadata_capacity: MIN_METADATA_CAPACITY,
        schema,
        is_traced: false,
    });
    let layout = layout.unwrap_or_else(|| panic!("{slots} slots are too many"));
    let segment = Segment::create(&name, layout, &[], &mut |_, _| true)
        .unwrap_or_else(|error| panic!("no segment: {error}"));
    segment.table().begin_at(0);
    segment
}
