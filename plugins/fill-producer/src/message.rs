//! The fields of a message.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cobuf_plugin_api::Value;
use cobuf_plugin_api::prelude::*;

use crate::number::Number;
use crate::wait::Seconds;

/// A message. Each field may be left out; other fields are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde")]
pub struct Message {
    // The batch's content.
    /// The number for all elements. It is exact, or rounded to the nearest if the array has
    /// floating point elements; if an array cannot hold it, it is an error. Default: `index`.
    pub(crate) value: Option<Value>,
    /// The number for all elements if there is no `value`, as other plugins' commanders give it.
    /// Default: 0.
    pub(crate) index: Option<Value>,
    /// Whether each element gets a number of its own from the message's generator instead: any
    /// integer of its type, or a floating point number from 0 to below 1.
    #[serde(default)]
    pub(crate) random: bool,
    /// The number of rows of a shorter batch.
    pub(crate) rows: Option<usize>,
    /// The shapes of arrays that have axes that are at most n, by the arrays' names, instead of the
    /// configured ones.
    pub(crate) shapes: Option<BTreeMap<String, Vec<usize>>>,
    /// A dictionary to attach to the batch.
    pub(crate) metadata: Option<Dictionary>,

    // Before the batch.
    /// A text to log, at level info.
    pub(crate) log: Option<String>,
    /// The number of seconds to sleep, instead of the configured one.
    pub(crate) sleep_seconds: Option<Seconds>,
    /// The number of seconds to keep the processor busy, instead of the configured one.
    pub(crate) burn_seconds: Option<Seconds>,
    /// A file to wait for: the producer continues as soon as a file with this path exists.
    pub(crate) until_file: Option<PathBuf>,

    // Misbehaviour, see `misbehave.rs`.
    /// The number of bytes of memory to take, write to and never free.
    pub(crate) leak_bytes: Option<usize>,
    /// The number of files to have open at once; they are closed afterwards.
    pub(crate) open_files: Option<usize>,
    /// The text of an error's cause.
    pub(crate) error: Option<String>,
    /// The text of a panic.
    pub(crate) panic: Option<String>,
    /// The status with which to end the worker's process.
    pub(crate) exit: Option<i32>,
    /// Whether to abort the worker's process.
    #[serde(default)]
    pub(crate) abort: bool,
    /// Whether to run forever, even if the host wants to stop.
    #[serde(default)]
    pub(crate) loop_forever: bool,
    /// The number of attempts at this message in which the seven misbehaviours above happen. Later
    /// attempts ignore them. Default: all.
    pub(crate) on_attempt: Option<u32>,
    /// Whether to take the first array with another element type.
    #[serde(default)]
    pub(crate) wrong_dtype: bool,
    /// Whether to write values of another shape into the first array.
    #[serde(default)]
    pub(crate) wrong_shape: bool,
}

impl Message {
    /// The number for all elements.
    pub(crate) fn number(&self) -> Result<Number> {
        let (field, value) = match (&self.value, &self.index) {
            (Some(value), _) => ("value", value),
            (None, Some(index)) => ("index", index),
            (None, None) => return Ok(Number::Int(0)),
        };
        Number::of(value).with_context(|| format!("the message's {field} is {value:?}, expected a number"))
    }
}
