//! Where each part of the segment lies. It is computed from the schema and the sizes, so it is the
//! same in every process.
//!
//! ```text
//!   0          header: magic, format, sizes │ control: events, sets of slots │ counters
//!   slots      SlotHeader × slots
//!   workers    WorkerPlace × MAX_WORKERS × CREWS: the number of workers may change while running
//!   stamps     Stamps × slots, if the run is traced
//!   payloads   slot 0: message │ outcome │ array │ array …   each at a 64-byte boundary
//!                      │ lengths                             right behind, at an 8-byte boundary
//!              slot 1: …                                     each slot at a page boundary
//! ```
//!
//! The lengths are there only if the schema has axes that are at most n. They follow the last array
//! closely, so that a tiny batch and its lengths share a cache line.

use cobuf_plugin_api::{ArraySpec, Schema};
use serde::{Deserialize, Serialize};

use super::header::Header;
use super::place::CREWS;
use super::slot::SlotHeader;
use super::stamps::Stamps;
use super::worker_place::WorkerPlace;
use crate::limits::MAX_WORKERS;

/// Arrays begin at a cache line, which is enough for every element type and for SIMD.
pub(crate) const ARRAY_ALIGNMENT: usize = 64;
/// The bytes of a length.
const WORD: usize = size_of::<u64>();
/// Slots begin at a page, so that two processes never write to the same page.
const SLOT_ALIGNMENT: usize = 4096;
/// The number of worker places: the most workers, in each crew.
pub(crate) const WORKER_PLACES: usize = MAX_WORKERS * CREWS;

/// The sizes that determine a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sizes {
    pub(crate) slots: usize,
    pub(crate) message_capacity: usize,
    pub(crate) metadata_capacity: usize,
    pub(crate) schema: Schema,
    /// Whether slots have stamps, for a trace.
    pub(crate) is_traced: bool,
}

/// A range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

impl Span {
    fn of_words(offset: usize, words: usize) -> Self {
        Self { offset, bytes: words * WORD }
    }
}

/// Where each part lies. Only [`Layout::new`] makes one, so all spans are disjoint, aligned and
/// inside `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) sizes: Sizes,
    pub(crate) slot_headers: usize,
    pub(crate) worker_places: usize,
    /// Where the slots' stamps begin, if the run is traced.
    pub(crate) stamps: Option<usize>,
    payloads: usize,
    stride: usize,
    /// The outcome's span, relative to its slot's payload.
    outcome: Span,
    /// The arrays' spans, relative to their slot's payload.
    arrays: Vec<Span>,
    /// The span of the batch's lengths, as words; relative as well, and empty if it has none.
    lengths: Span,
    /// The whole segment.
    pub(crate) bytes: usize,
}

impl Layout {
    /// Lays the segment out. `None` if its size does not fit the address space.
    pub(crate) fn new(sizes: Sizes) -> Option<Self> {
        let slot_headers = size_of::<Header>().next_multiple_of(ARRAY_ALIGNMENT);
        // Another run's sizes may be any.
        let headers = size_of::<SlotHeader>().checked_mul(sizes.slots)?;
        let worker_places = slot_headers.checked_add(headers)?;
        let stamps = worker_places.checked_add(size_of::<WorkerPlace>() * WORKER_PLACES)?;
        let stamped = size_of::<Stamps>().checked_mul(if sizes.is_traced { sizes.slots } else { 0 })?;
        let payloads = stamps.checked_add(stamped)?.checked_next_multiple_of(SLOT_ALIGNMENT)?;
        let stamps = sizes.is_traced.then_some(stamps);
        let offset = sizes.message_capacity.checked_next_multiple_of(ARRAY_ALIGNMENT)?;
        let outcome = Span { offset, bytes: sizes.metadata_capacity };
        let mut end = outcome.offset.checked_add(outcome.bytes)?;
        let mut arrays = Vec::with_capacity(sizes.schema.arrays().len());
        for bytes in sizes.schema.arrays().iter().map(ArraySpec::bytes) {
            let offset = end.checked_next_multiple_of(ARRAY_ALIGNMENT)?;
            arrays.push(Span { offset, bytes });
            end = offset.checked_add(bytes)?;
        }
        let lengths =
            Span::of_words(end.checked_next_multiple_of(WORD)?, sizes.schema.most_lengths().count());
        let end = lengths.offset.checked_add(lengths.bytes)?;
        let stride = end.checked_next_multiple_of(SLOT_ALIGNMENT)?;
        let bytes = stride.checked_mul(sizes.slots)?.checked_add(payloads)?;
        isize::try_from(bytes).ok()?;
        Some(Self {
            sizes,
            slot_headers,
            worker_places,
            stamps,
            payloads,
            stride,
            outcome,
            arrays,
            lengths,
            bytes,
        })
    }

    pub(crate) fn message(&self, slot: usize) -> Span {
        Span { offset: self.payload(slot), bytes: self.sizes.message_capacity }
    }

    /// The span of the metadata or failure report.
    pub(crate) fn outcome(&self, slot: usize) -> Span {
        Span { offset: self.payload(slot) + self.outcome.offset, bytes: self.outcome.bytes }
    }

    /// The spans of a slot's arrays, in the schema's order.
    pub(crate) fn arrays(&self, slot: usize) -> impl ExactSizeIterator<Item = Span> {
        let payload = self.payload(slot);
        self.arrays.iter().map(move |array| Span { offset: payload + array.offset, bytes: array.bytes })
    }

    /// The span of a batch's lengths, which is empty if it has none.
    pub(crate) fn lengths(&self, slot: usize) -> Span {
        Span { offset: self.payload(slot) + self.lengths.offset, bytes: self.lengths.bytes }
    }

    /// A number that differs if the layout or its code differs. A process refuses a segment with
    /// another number.
    pub(crate) fn format(&self) -> u64 {
        let sizes = format!(
            "{} {:?} {} {}",
            env!("CARGO_PKG_VERSION"),
            self,
            size_of::<Header>(),
            size_of::<SlotHeader>()
        );
        xxhash_rust::xxh3::xxh3_64(sizes.as_bytes())
    }

    fn payload(&self, slot: usize) -> usize {
        debug_assert!(slot < self.sizes.slots);
        self.payloads + self.stride * slot
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;
    use cobuf_plugin_api::DType;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_are_disjoint_aligned_and_inside(
            slots in 1usize..9,
            message_capacity in 1usize..10_000,
            metadata_capacity in 1usize..10_000,
            is_traced in any::<bool>(),
            shapes in prop::collection::vec((0usize..13, prop::collection::vec((1usize..7, any::<bool>()), 0..4)), 1..6),
        ) {
            let at_most = shapes.iter().flat_map(|(_, axes)| axes).filter(|(_, at_most)| *at_most).count();
            let arrays = shapes.iter().enumerate().map(|(index, (dtype, axes))| {
                let shape: Vec<usize> = axes.iter().map(|(most, _)| *most).collect();
                let at_most = (0..axes.len()).filter(|&axis| axes[axis].1);
                ArraySpec::new(index.to_string(), DType::ALL[*dtype], shape).at_most(at_most)
            });
            let schema = Schema::new(arrays.collect::<Vec<_>>()).unwrap();
            let layout = Layout::new(Sizes { slots, message_capacity, metadata_capacity, schema, is_traced }).unwrap();
            let mut spans = vec![
                Span { offset: 0, bytes: size_of::<Header>() },
                Span { offset: layout.slot_headers, bytes: size_of::<SlotHeader>() * slots },
                Span { offset: layout.worker_places, bytes: size_of::<WorkerPlace>() * WORKER_PLACES },
            ];
            prop_assert_eq!(layout.stamps.is_some(), is_traced);
            spans.extend(layout.stamps.map(|offset| Span { offset, bytes: size_of::<Stamps>() * slots }));
            for slot in 0..slots {
                spans.extend([layout.message(slot), layout.outcome(slot)]);
                spans.extend(layout.arrays(slot));
                spans.push(layout.lengths(slot));
                prop_assert_eq!(layout.lengths(slot).bytes, at_most * size_of::<usize>());
            }
            for span in &spans {
                let is_lengths = (0..slots).any(|slot| layout.lengths(slot) == *span);
                prop_assert_eq!(span.offset % if is_lengths { WORD } else { ARRAY_ALIGNMENT }, 0);
            }
            let first_page = |slot: usize| layout.message(slot).offset / SLOT_ALIGNMENT;
            for slot in 1..slots {
                let before = layout.lengths(slot - 1);
                let last = before.offset + before.bytes - 1;
                prop_assert!(last / SLOT_ALIGNMENT < first_page(slot), "slots share no page");
            }
            for pair in spans.windows(2) {
                prop_assert!(pair[0].offset + pair[0].bytes <= pair[1].offset);
            }
            let last = spans.last().unwrap();
            prop_assert!(last.offset + last.bytes <= layout.bytes);
        }
    }

    #[test]
    fn size_beyond_the_address_space_is_refused() {
        let schema =
            Schema::new([ArraySpec::new("a", DType::U8, [cobuf_plugin_api::MAX_SLOT_BYTES])]).unwrap();
        let sizes = |slots| Sizes {
            slots,
            message_capacity: 64,
            metadata_capacity: 1024,
            schema: schema.clone(),
            is_traced: false,
        };
        assert!(Layout::new(sizes(1)).is_some());
        for slots in [usize::MAX >> 20, usize::MAX / 64 + 1, usize::MAX] {
            assert!(Layout::new(sizes(slots)).is_none());
        }
        for capacity in [usize::MAX - 100, usize::MAX] {
            assert!(Layout::new(Sizes { message_capacity: capacity, ..sizes(1) }).is_none());
            assert!(Layout::new(Sizes { metadata_capacity: capacity, ..sizes(1) }).is_none());
        }
    }
}
