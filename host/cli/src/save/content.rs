//! A batch as it is written to a file: its arrays, and what belongs to them, as JSON.

use anyhow::{Context, Result};
use cobuf_host::{ArraySpec, Batch, Dictionary};
use serde::Serialize;

/// The name of the JSON beside the arrays. No array of a saved batch has it.
pub(super) const ABOUT: &str = "__metadata__";

/// A batch as it is written.
pub(super) struct Content<'a> {
    pub(super) arrays: Vec<Array<'a>>,
    pub(super) about: About<'a>,
}

/// An array with the shape that it has in the batch.
pub(super) struct Array<'a> {
    pub(super) spec: &'a ArraySpec,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: &'a [u8],
}

/// What belongs to the arrays. The names are those in the files.
#[derive(Serialize)]
pub(super) struct About<'a> {
    pub(super) sequence: u64,
    pub(super) message: Dictionary,
    pub(super) metadata: Dictionary,
    /// The arrays as the producer declares them: a batch may be shorter.
    pub(super) arrays: &'a [ArraySpec],
}

impl<'a> Content<'a> {
    pub(super) fn of(batch: &'a Batch) -> Result<Self> {
        let arrays = (0..batch.schema().arrays().len()).map(|index| {
            let (spec, bytes) = batch.bytes_at(index)?;
            Ok(Array { spec, shape: batch.shape_at(index)?, bytes })
        });
        let about = About {
            sequence: batch.sequence(),
            message: batch.message().context("its message has no form in JSON")?,
            metadata: batch.metadata().context("its metadata has no form in JSON")?,
            arrays: batch.schema().arrays(),
        };
        Ok(Self { arrays: arrays.collect::<Result<_>>()?, about })
    }
}
