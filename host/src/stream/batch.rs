//! A batch: the lease of a slot that the application reads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::lengths::Extent;
use cobuf_plugin_api::{ArraySpec, DType, Element, Schema, ViewError};
use ndarray::{ArrayView, Dimension};
use serde::de::DeserializeOwned;

use super::delivery::Stream;
use crate::segment::claim::{Claim, Reading};
use crate::segment::slot::Outcome;

/// One batch: arrays in shared memory, with the message that they were made from.
///
/// Nothing is copied: the arrays are views of the slot that the producer filled. Dropping the batch
/// frees the slot. Batches may be kept, dropped in any order, sent to other threads, and outlive
/// the host; as long as the application holds all slots, nothing new is produced.
///
/// ```
/// use cobuf_host::{Batch, Dictionary, ndarray::Ix3};
///
/// fn show(batch: &Batch) -> Result<(), Box<dyn std::error::Error>> {
///     let image = batch.array::<f32, Ix3>("image")?;
///     let message: Dictionary = batch.message()?;
///     println!("batch {} of {message}: {:?}", batch.sequence(), image.dim());
///     Ok(())
/// }
/// ```
pub struct Batch {
    stream: Arc<Stream>,
    /// `None` only while the batch is dropped.
    claim: Option<Claim<Reading>>,
    outcome: Outcome,
    sequence: u64,
}

impl Batch {
    pub(crate) fn new(stream: Arc<Stream>, claim: Claim<Reading>, outcome: Outcome) -> Self {
        let sequence = stream.table().sequence(&claim);
        Self { stream, claim: Some(claim), outcome, sequence }
    }

    /// The batch's number in the stream, from 0. Messages are numbered in the order in which the
    /// commander makes them.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether the batch is another rank's, and delivered once more because of
    /// [`Remainder::Repeat`](crate::Remainder::Repeat). It is not in this rank's checkpoints.
    pub fn is_repeated(&self) -> bool {
        self.stream.history.is_repeated(self.sequence)
    }

    /// The arrays of the batch as the producer declares them, with the shapes of a full batch.
    pub fn schema(&self) -> &Schema {
        &self.stream.segment.layout().sizes.schema
    }

    /// The number of rows, which are entries along the first axis. A shorter batch has fewer than
    /// the schema says. `None` if the arrays do not share a first axis.
    pub fn rows(&self) -> Option<usize> {
        self.outcome.rows.or(self.schema().rows())
    }

    /// The array `name`, with the shape that it has in this batch: elements of type `T`, dimensions
    /// `D` (`Ix1` … `Ix6`, `IxDyn`).
    ///
    /// # Errors
    /// [`ArrayError`] if there is no such array, or its element type or number of dimensions
    /// differs.
    pub fn array<T: Element, D: Dimension>(&self, name: &str) -> Result<ArrayView<'_, T, D>, ArrayError> {
        let index = self.schema().index_of(name).ok_or_else(|| ArrayError::Unknown {
            wanted: format!("called {name:?}"),
            known: self.schema().names(),
        })?;
        self.array_at(index)
    }

    /// The array at a position of the schema; otherwise as [`array`](Self::array).
    ///
    /// # Errors
    /// As [`array`](Self::array).
    pub fn array_at<T: Element, D: Dimension>(
        &self,
        index: usize,
    ) -> Result<ArrayView<'_, T, D>, ArrayError> {
        let (spec, bytes) = self.bytes_at(index)?;
        spec.view(bytes, self.extent(index)).map_err(|error| ArrayError::of(spec, error))
    }

    /// The shape in this batch of the array at a position of the schema, outermost first.
    ///
    /// ```
    /// # fn show(batch: &cobuf_host::Batch) -> Result<(), cobuf_host::ArrayError> {
    /// assert_eq!(batch.schema().arrays()[1].to_string(), "boxes f32 (≤200, 4)");
    /// println!("{} boxes", batch.shape_at(1)?[0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ArrayError::Unknown`].
    pub fn shape_at(&self, index: usize) -> Result<Vec<usize>, ArrayError> {
        let (spec, _) = self.bytes_at(index)?;
        Ok(spec.shape_in(self.extent(index)).collect())
    }

    /// The bytes that this batch uses of an array, in native byte order, with the array's
    /// specification.
    ///
    /// # Errors
    /// [`ArrayError::Unknown`].
    pub fn bytes_at(&self, index: usize) -> Result<(&ArraySpec, &[u8]), ArrayError> {
        let spec = self.schema().arrays().get(index);
        let bytes = self.stream.segment.array(self.claim(), index);
        let (Some(spec), Some(bytes)) = (spec, bytes) else {
            let wanted = format!("at position {index}");
            return Err(ArrayError::Unknown { wanted, known: self.schema().names() });
        };
        Ok((spec, &bytes[..spec.bytes_in(self.extent(index))]))
    }

    /// How much of an array of the schema this batch uses.
    pub(crate) fn extent(&self, index: usize) -> Extent<'_> {
        let lengths = self.stream.segment.lengths(self.claim());
        // Most schemas have none; the hot path looks no further.
        let lengths = if lengths.is_empty() { lengths } else { &lengths[self.schema().lengths_of(index)] };
        Extent { rows: self.outcome.rows, lengths }
    }

    /// The message that the batch was made from, as any `serde` type, or a
    /// [`Dictionary`](cobuf_plugin_api::Dictionary).
    ///
    /// # Errors
    /// [`CodecError`] if the message is not of that type.
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        codec::decode("the message", self.stream.segment.message(self.claim()))
    }

    /// The dictionary that the producer attached, as any `serde` type. It is empty if the producer
    /// attached none.
    ///
    /// # Errors
    /// [`CodecError`] if the metadata is not of that type.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        const EMPTY_MAP: &[u8] = &[0x80];
        let metadata = self.stream.segment.outcome(self.claim());
        codec::decode("the metadata", if metadata.is_empty() { EMPTY_MAP } else { metadata })
    }

    /// The number of the worker that produced the batch.
    pub fn worker(&self) -> u32 {
        self.outcome.worker
    }

    /// The edition of the producer's code that made the batch: 0 for the code that the host was
    /// started with, one more with each [`swap_producer`](crate::Host::swap_producer).
    pub fn edition(&self) -> u32 {
        self.outcome.edition
    }

    /// The time that the producer took for the batch.
    pub fn produce_time(&self) -> Duration {
        Duration::from_nanos(self.outcome.nanos)
    }

    /// The number of earlier attempts at the batch, each of which ended with its worker's death.
    pub fn retries(&self) -> u32 {
        self.claim().attempts()
    }

    fn claim(&self) -> &Claim<Reading> {
        match &self.claim {
            Some(claim) => claim,
            None => unreachable!("the claim is taken by drop only"),
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.stream.release(claim);
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("sequence", &self.sequence)
            .field("schema", &format_args!("{}", self.schema()))
            .field("rows", &self.rows())
            .field("worker", &self.outcome.worker)
            .finish_non_exhaustive()
    }
}

/// Why a batch cannot give an array.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// The batch has no such array.
    #[error("the batch has no array {wanted}; it has: {known}")]
    Unknown {
        /// The name or position that was asked for.
        wanted: String,
        /// The names of the batch's arrays.
        known: String,
    },
    /// The array's elements are of a different type.
    #[error("array \"{}\" has elements of type {}, not {wanted}: the schema declares {array}", array.name(), array.dtype())]
    DType {
        /// The array as declared.
        array: ArraySpec,
        /// The type asked for.
        wanted: DType,
    },
    /// The array has a different number of dimensions.
    #[error("array \"{}\" has {} dimensions, not {wanted}: the schema declares {array}", array.name(), array.shape().len())]
    Dimensions {
        /// The array as declared.
        array: ArraySpec,
        /// The number asked for.
        wanted: usize,
    },
    /// The producer wrote bytes that are no elements of this type: a `bool` that is neither 0 nor
    /// 1.
    #[error("the memory of array {array} cannot be read: {reason}")]
    Memory {
        /// The array as declared.
        array: ArraySpec,
        /// The fault of the bytes.
        reason: String,
    },
}

impl ArrayError {
    fn of(array: &ArraySpec, error: ViewError) -> Self {
        let array = array.clone();
        match error {
            ViewError::DType { wanted, .. } => Self::DType { array, wanted },
            ViewError::Dimensions { wanted, .. } => Self::Dimensions { array, wanted },
            ViewError::Memory { reason } => Self::Memory { array, reason },
        }
    }
}
