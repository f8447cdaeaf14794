//! Room in which a producer sets the lengths of a batch. It is memory of the process, so that only
//! lengths that were checked get into the slot.

use cobuf_plugin_api::Schema;

/// The lengths of one batch after the other; nothing is allocated for a batch.
pub(super) struct Room {
    /// The longest that a batch may have.
    most: Vec<usize>,
    now: Vec<usize>,
}

impl Room {
    pub(super) fn new(schema: &Schema) -> Self {
        let most: Vec<usize> = schema.most_lengths().collect();
        Self { now: most.clone(), most }
    }

    /// Makes it ready for the next batch, whose arrays are as long as they may be unless the
    /// producer says otherwise.
    pub(super) fn prepare(&mut self) -> &mut [usize] {
        self.now.copy_from_slice(&self.most);
        &mut self.now
    }

    /// The lengths that the producer has left there.
    pub(super) fn said(&self) -> &[usize] {
        &self.now
    }
}
