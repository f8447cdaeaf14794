//! Memory for a producer's arrays in which stray writes are found: each array lies between two
//! pages that cannot be accessed.
//!
//! ```text
//!   guard page │            body: whole pages, two more than the array             │ guard page
//!              │ pattern … pattern │ the array, aligned for 64 bytes │ pattern …    │  Nowhere
//!              │ the array │ pattern … … … … … … … … … … … … … … … … … … … … … …  │  Before
//!              │ pattern … … … … … … … … … … … … … … … … … │ the array │ < 64 bytes │  Behind
//! ```
//!
//! The right column names the [`Guard`]. A write to a guard page ends the process (SIGSEGV); a
//! write into the pattern is found afterwards.
#![expect(unsafe_code, reason = "maps memory with guard pages, and passes it to the plugin")]

use std::{io, ptr, slice};

use arrayvec::ArrayVec;
use cobuf_plugin_api::abi::{Job, Produced, RawArray};
use cobuf_plugin_api::lengths::Extent;
use cobuf_plugin_api::{ArraySpec, DType, MAX_ARRAYS, Report, Schema};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

use super::lengths::Room;
use crate::plugin::open::OpenProducer;
use crate::protocol::examination::{Guard, Overrun};
use crate::segment::layout::ARRAY_ALIGNMENT;

/// Memory for each array of a schema. It stays mapped until the process ends.
pub(crate) struct Arena {
    places: Vec<Place>,
    schema: Schema,
    lengths: Room,
}

/// The memory of one array.
///
/// Invariant: `body` points to `body_bytes` bytes that are mapped, readable, writable and used by
/// this place alone, and `offset + bytes <= body_bytes`.
struct Place {
    dtype: DType,
    bytes: usize,
    body: *mut u8,
    body_bytes: usize,
    /// The offset of the array in the body.
    offset: usize,
}

impl Arena {
    pub(crate) fn new(schema: &Schema) -> io::Result<Self> {
        let places = schema.arrays().iter().map(Place::new).collect::<io::Result<_>>()?;
        Ok(Self { places, schema: schema.clone(), lengths: Room::new(schema) })
    }

    /// Places the arrays as `guard` says. Fills each array with `garbage`, and the bytes beside it
    /// with the pattern.
    pub(super) fn prepare(&mut self, guard: Guard, garbage: u8) {
        for (number, place) in self.places.iter_mut().enumerate() {
            let page = rustix::param::page_size();
            place.offset = match guard {
                Guard::Before(array) if array == number => 0,
                Guard::Behind(array) if array == number => {
                    place.body_bytes - place.bytes.next_multiple_of(ARRAY_ALIGNMENT)
                }
                _ => page,
            };
            // A bool is 0 or 1.
            let garbage = if place.dtype == DType::Bool { garbage & 1 } else { garbage };
            let (offset, bytes) = (place.offset, place.bytes);
            let (before, rest) = place.body_mut().split_at_mut(offset);
            let (array, behind) = rest.split_at_mut(bytes);
            array.fill(garbage);
            for (index, byte) in before.iter_mut().rev().chain(behind).enumerate() {
                *byte = pattern(index);
            }
        }
    }

    /// Has the producer fill the arrays. The job's own arrays are ignored.
    pub(crate) fn produce(&mut self, producer: &mut OpenProducer, job: Job<'_>) -> Result<Produced, Report> {
        let raw =
            |place: &Place| RawArray { data: place.body.wrapping_add(place.offset), bytes: place.bytes };
        // Filled in place, because `collect` moves all of its room.
        let mut arrays = ArrayVec::<RawArray, MAX_ARRAYS>::new();
        arrays.extend(self.places.iter().map(raw));
        let job = Job { arrays: arrays.as_slice().into(), ..job };
        // SAFETY: the arrays are as long as those of the schema that this arena was made for, which
        // is that of the producer. By `Place`'s invariant they are mapped and used by this place
        // alone. No reference to them is alive.
        unsafe { producer.produce(job, self.lengths.prepare()) }
    }

    /// The lengths that the producer has set for the last batch.
    pub(super) fn lengths(&self) -> &[usize] {
        self.lengths.said()
    }

    /// The bytes of each array that the last batch uses, which has so many rows.
    pub(super) fn contents(&self, rows: Option<usize>) -> impl Iterator<Item = &[u8]> {
        self.places.iter().zip(self.schema.arrays()).enumerate().map(move |(number, (place, array))| {
            let lengths = &self.lengths()[self.schema.lengths_of(number)];
            &place.body()[place.offset..][..array.bytes_in(Extent { rows, lengths })]
        })
    }

    /// The bytes beside the arrays that were written to since the arrays were prepared.
    pub(super) fn overruns(&self) -> Vec<Overrun> {
        let mut overruns = Vec::new();
        for (array, place) in self.places.iter().enumerate() {
            let (before, rest) = place.body().split_at(place.offset);
            let (before_bytes, behind) = (before.len(), &rest[place.bytes..]);
            let nearest = before.iter().rev().enumerate().find(|&(index, &byte)| byte != pattern(index));
            overruns.extend(nearest.map(|(index, _)| Overrun { array, before: true, distance: index + 1 }));
            let mut behind = behind.iter().enumerate();
            let nearest = behind.find(|&(index, &byte)| byte != pattern(before_bytes + index));
            overruns.extend(nearest.map(|(index, _)| Overrun { array, before: false, distance: index + 1 }));
        }
        overruns
    }
}

/// The value of a byte beside an array. No two neighbours are equal, so that bytes copied there are
/// noticed.
fn pattern(index: usize) -> u8 {
    (index as u8).wrapping_mul(31) ^ 0xc3
}

impl Place {
    fn new(array: &ArraySpec) -> io::Result<Self> {
        let (bytes, page) = (array.bytes(), rustix::param::page_size());
        let body_bytes = bytes.next_multiple_of(page) + 2 * page;
        let (whole, access) = (body_bytes + 2 * page, ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), whole, access, MapFlags::PRIVATE) }?;
        for guard in [start, start.wrapping_byte_add(page + body_bytes)] {
            // SAFETY: one page at either end of the mapping that was just made, to which no
            // reference exists.
            unsafe { mprotect(guard, page, MprotectFlags::empty()) }?;
        }
        let body = start.cast::<u8>().wrapping_add(page);
        Ok(Self { dtype: array.dtype(), bytes, body, body_bytes, offset: page })
    }

    fn body(&self) -> &[u8] {
        // SAFETY: by the invariant. Anonymous memory is initialised, and only `body_mut` and the
        // plugin write to it, both of which borrow the arena mutably.
        unsafe { slice::from_raw_parts(self.body, self.body_bytes) }
    }

    fn body_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `body`; borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.body, self.body_bytes) }
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_write_beside_an_array_is_found() {
        let schema =
            Schema::new([ArraySpec::new("x", DType::U8, [100]), ArraySpec::new("y", DType::Bool, [3])]);
        let mut arena = Arena::new(&schema.unwrap()).unwrap();
        for guard in [Guard::Nowhere, Guard::Before(0), Guard::Behind(0), Guard::Behind(1)] {
            arena.prepare(guard, 0xff);
            assert_eq!(arena.overruns(), [], "{guard:?}");
            assert_eq!(
                arena.contents(None).map(<[u8]>::to_vec).collect::<Vec<_>>(),
                [vec![255; 100], vec![1; 3]]
            );
            let place = &mut arena.places[0];
            let end = place.offset + place.bytes;
            place.body_mut()[end] ^= 1;
            assert_eq!(arena.overruns(), [Overrun { array: 0, before: false, distance: 1 }], "{guard:?}");
        }
        arena.prepare(Guard::Nowhere, 0);
        let place = &mut arena.places[1];
        let before = place.offset - 2;
        place.body_mut()[before] = 7;
        assert_eq!(arena.overruns(), [Overrun { array: 1, before: true, distance: 2 }]);
    }
}
