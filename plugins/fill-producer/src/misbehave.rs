//! The misbehaviours that a test can ask the producer for.
//!
//! | field | misbehaviour | handled by |
//! |---|---|---|
//! | `leak_bytes` | keeps memory forever | the host's memory limit, which ends the worker |
//! | `open_files` | opens many files | the system's limit, which the host sets: an error |
//! | `error` | returns an error with a cause | the consumer, which gets it in place of the batch |
//! | `panic` | panics | the plugin's boundary, which makes it an error |
//! | `exit`, `abort` | ends the process | the host, whose other workers retry the message |
//! | `loop_forever` | never returns | the host's time limit for a message |
//! | `wrong_dtype`, `wrong_shape` | uses the slot wrongly | the slot, which refuses |

use std::fs::File;
use std::hint;
use std::process;
use std::thread;
use std::time::Duration;

use cobuf_plugin_api::anyhow;
use cobuf_plugin_api::ndarray::aview0;
use cobuf_plugin_api::prelude::*;

use crate::fill::with_element_type;
use crate::message::Message;
use crate::number::{Fill, Number};

/// Leaks, fails, panics, ends the process or never returns, if the message asks for it in this
/// attempt.
pub(crate) fn misbehave(message: &Message, attempt: u32) -> Result<()> {
    if message.on_attempt.is_some_and(|attempts| attempt >= attempts) {
        return Ok(());
    }
    if let Some(bytes) = message.leak_bytes {
        // Written to, page by page: memory that is only reserved costs nothing.
        hint::black_box(vec![1_u8; bytes].leak());
    }
    if let Some(number) = message.open_files {
        open_files(number)?;
    }
    if let Some(text) = &message.error {
        return Err(error(text));
    }
    if let Some(text) = &message.panic {
        panic!("{text}");
    }
    if let Some(status) = message.exit {
        process::exit(status);
    }
    if message.abort {
        process::abort();
    }
    if message.loop_forever {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }
    Ok(())
}

/// Has this number of files open at once.
fn open_files(number: usize) -> Result<()> {
    let open =
        |index| File::open("/dev/null").with_context(|| format!("cannot open file {index} of {number}"));
    let files = (1..=number).map(open).collect::<Result<Vec<File>>>()?;
    drop(files);
    Ok(())
}

/// The error that the message asked for, with a chain of two.
pub(crate) fn error(text: &str) -> anyhow::Error {
    anyhow::Error::msg(text.to_owned()).context("asked to fail")
}

/// Uses the first array wrongly, if the message asks for it. Returns the slot's error.
pub(crate) fn ask_wrongly(message: &Message, slot: &mut Slot<'_>) -> Result<()> {
    // A schema has at least one array.
    let array = &slot.schema().arrays()[0];
    if message.wrong_dtype {
        match array.dtype() {
            DType::U8 => drop(slot.array::<i8, IxDyn>(array.name())?),
            _ => drop(slot.array::<u8, IxDyn>(array.name())?),
        }
    }
    if message.wrong_shape {
        with_element_type!(array.dtype(), write_one_row_more(slot, array))?;
    }
    Ok(())
}

/// Writes zeros whose first axis is one longer than the schema's. If the array is a single number,
/// writes two numbers.
fn write_one_row_more<T: Fill>(slot: &mut Slot<'_>, array: &ArraySpec) -> Result<()> {
    let mut shape = array.shape().to_vec();
    match shape.first_mut() {
        Some(rows) => *rows += 1,
        None => shape.push(2),
    }
    let zero = T::from_number(Number::Int(0)).context("every element type has a zero")?;
    let zero = aview0(&zero);
    let zeros = zero.broadcast(IxDyn(&shape)).context("a number can be broadcast to every shape")?;
    Ok(slot.write(array.name(), &zeros)?)
}
