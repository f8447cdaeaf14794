//! What a message can ask for.

use std::path::PathBuf;

use cobuf_plugin_api::Value;
use cobuf_plugin_api::prelude::*;

use crate::number::Number;
use crate::wait::Seconds;

/// A message: each field may be left out, and others are left alone.
#[derive(Debug, Default, Deserialize)]
#[serde(crate = "cobuf_plugin_api::serde", default)]
pub struct Message {
    // What the batch is.
    /// The number that each element gets, exactly, or rounded to the nearest where the array has floating point
    /// elements; an error where an array cannot hold it. Default: `index`.
    pub(crate) value: Option<Value>,
    /// The number that each element gets where there is no `value`, as other plugins' commanders give it. Default: 0.
    pub(crate) index: Option<Value>,
    /// Whether each element gets a number of its own from the message's generator instead: any integer of its type,
    /// or a floating point number from 0 to below 1.
    pub(crate) random: bool,
    /// The rows of a shorter batch.
    pub(crate) rows: Option<usize>,
    /// A dictionary to attach to the batch.
    pub(crate) metadata: Option<Dictionary>,

    // What comes before.
    /// A text to log, at level info.
    pub(crate) log: Option<String>,
    /// For how long to sleep, instead of the configuration's.
    pub(crate) sleep_seconds: Option<Seconds>,
    /// For how long to keep the processor busy, instead of the configuration's.
    pub(crate) burn_seconds: Option<Seconds>,
    /// A file to wait for: the batch goes on when there is one with this path.
    pub(crate) until_file: Option<PathBuf>,

    // What goes wrong, see `misbehave.rs`.
    /// The bytes of memory to take, to write to and never to give back.
    pub(crate) leak_bytes: Option<usize>,
    /// The number of files to have open at once; they are closed again.
    pub(crate) open_files: Option<usize>,
    /// The text of an error's cause.
    pub(crate) error: Option<String>,
    /// The text of a panic.
    pub(crate) panic: Option<String>,
    /// The status with which to end the worker's process.
    pub(crate) exit: Option<i32>,
    /// Whether to abort the worker's process.
    pub(crate) abort: bool,
    /// Whether to go on forever, also when the host wants to stop.
    pub(crate) loop_forever: bool,
    /// The number of attempts at this message in which those seven happen, and after which it is done as if it did not
    /// ask for them. Default: all.
    pub(crate) on_attempt: Option<u32>,
    /// Whether to ask for the first array with elements of another type.
    pub(crate) wrong_dtype: bool,
    /// Whether to write values of another shape into the first array.
    pub(crate) wrong_shape: bool,
}

impl Message {
    /// The number that each element gets.
    pub(crate) fn number(&self) -> Result<Number> {
        let (field, value) = match (&self.value, &self.index) {
            (Some(value), _) => ("value", value),
            (None, Some(index)) => ("index", index),
            (None, None) => return Ok(Number::Int(0)),
        };
        Number::of(value).with_context(|| format!("the message's {field} is {value:?}, expected a number"))
    }
}
