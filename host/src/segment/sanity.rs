//! Whether the numbers of a claimed slot are possible. Plugins share the memory, and a plugin that
//! writes outside its arrays may hit the headers. An error then takes the batch's place, and none
//! of its numbers is used.
//!
//! Wrong numbers that are possible are not found, nor are arrays that another slot's plugin wrote
//! over.

use cobuf_plugin_api::lengths::TooLong;

use super::claim::{Claim, Reading};
use super::memory::Segment;
use super::slot::Outcome;
use super::sync::Ordering;
use super::word::Owner;
use crate::limits::MAX_WORKERS;

impl Segment {
    /// The text of the error, if a number is impossible.
    pub(crate) fn impossible(&self, claim: &Claim<Reading>, outcome: &Outcome) -> Option<String> {
        let said = self.contradiction(claim, outcome)?;
        Some(format!(
            "slot {} {said}; a plugin probably wrote outside of its arrays: run it under the address sanitizer",
            claim.index()
        ))
    }

    fn contradiction(&self, claim: &Claim<Reading>, outcome: &Outcome) -> Option<String> {
        let sizes = &self.layout().sizes;
        let message_bytes = self.table().message_bytes(claim);
        match claim.snapshot.owner() {
            Owner::Nobody => {}
            Owner::Commander => return Some("is ready while the commander holds it".to_owned()),
            Owner::Worker(place) => {
                return Some(format!("is ready while worker {} holds it", place.worker()));
            }
        }
        if self.table().slots[claim.index].sequence.load(Ordering::Relaxed) == 0 {
            return Some("is ready and has no message's number".to_owned());
        }
        if let Some(rows) = outcome.rows {
            let most = sizes.schema.rows();
            if most.is_none_or(|most| rows > most) {
                let most = most.map_or("no common first axis".to_owned(), |most| most.to_string());
                return Some(format!("says {rows} rows, its schema has {most}"));
            }
        }
        if let Some(TooLong { array, axis, most, found }) = self.too_long(claim, outcome) {
            return Some(format!(
                "says length {found} along axis {axis} of array {:?}, its schema has at most {most}",
                array.name()
            ));
        }
        if message_bytes > sizes.message_capacity {
            let room = sizes.message_capacity;
            return Some(format!("says {message_bytes} bytes of message, it has room for {room}"));
        }
        if outcome.bytes > sizes.metadata_capacity {
            let (bytes, room) = (outcome.bytes, sizes.metadata_capacity);
            return Some(format!("says {bytes} bytes of metadata, it has room for {room}"));
        }
        if outcome.worker as usize >= MAX_WORKERS {
            let worker = outcome.worker;
            return Some(format!(
                "says that it was filled by worker {worker}, workers are below {MAX_WORKERS}"
            ));
        }
        None
    }

    /// The first length of the batch that is above its most. Most schemas have no lengths, and the hot
    /// path looks no further.
    fn too_long(&self, claim: &Claim<Reading>, outcome: &Outcome) -> Option<TooLong<'_>> {
        let lengths = self.lengths(claim);
        // A slot with a report has the lengths of an earlier batch.
        let is_checked = !lengths.is_empty() && !outcome.failed;
        if is_checked { self.layout().sizes.schema.too_long(lengths) } else { None }
    }
}
