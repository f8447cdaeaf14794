//! Dictionaries, arrays and errors between Rust and Python, for the extension module and the plugins.
//!
//! ```text
//!   layout   an array as the buffer protocol describes it
//!   plugin   what both Python plugins do
//! ```
//!
//! Values are converted so:
//!
//! ```text
//!   Value          Python, from and to
//!   Null           None
//!   Bool           bool
//!   Int, UInt      int from -2^63 to 2^64 - 1
//!   Float          float
//!   String         str
//!   Bytes          bytes, bytearray, memoryview (given as bytes)
//!   List           list, tuple (given as a list)
//!   Dictionary     dict with text keys
//! ```
//!
//! NumPy's scalars become the Python numbers of the same value, and its arrays become lists. Any
//! other object is an error that names its place.
#![forbid(unsafe_code)]

mod layout;
mod plugin;

pub use layout::Layout;
pub use plugin::{error, log_to_host, python, worker};

use cobuf_plugin_api::{Dictionary, Value};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};

/// A value as a Python object.
///
/// # Errors
/// If Python has no memory.
pub fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(it) => PyBool::new(py, *it).to_owned().into_any(),
        Value::Int(it) => it.into_pyobject(py)?.into_any(),
        Value::UInt(it) => it.into_pyobject(py)?.into_any(),
        Value::Float(it) => it.into_pyobject(py)?.into_any(),
        Value::String(it) => it.into_pyobject(py)?.into_any(),
        Value::Bytes(it) => PyBytes::new(py, it).into_any(),
        Value::List(it) => {
            let entries = it.iter().map(|entry| to_python(py, entry)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, entries)?.into_any()
        }
        Value::Dictionary(it) => dict(py, it)?.into_any(),
    })
}

/// A dictionary as a `dict`, in its order.
///
/// # Errors
/// If Python has no memory.
pub fn dict<'py>(py: Python<'py>, dictionary: &Dictionary) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dictionary.iter().try_for_each(|(key, value)| dict.set_item(key, to_python(py, value)?))?;
    Ok(dict)
}

/// A `dict` as a dictionary. `what` names it in errors, such as `the message`.
///
/// # Errors
/// `TypeError` or `OverflowError`, which name the entry.
pub fn dictionary(what: &str, dict: &Bound<'_, PyDict>) -> PyResult<Dictionary> {
    let mut dictionary = Dictionary::new();
    for (key, value) in dict {
        let Ok(key) = key.cast::<PyString>() else {
            let kind = key.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "{what} has a key of type {kind}, expected str: {key:?}"
            )));
        };
        let key = key.to_cow()?;
        dictionary.insert(&*key, from_python(&format!("{what}[{key:?}]"), &value)?);
    }
    Ok(dictionary)
}

/// A Python object as a value; `place` names it in errors.
///
/// # Errors
/// `TypeError` for an object of another type, `OverflowError` for an integer beyond 64 bits.
pub fn from_python(place: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if object.is_none() {
        Ok(Value::Null)
    } else if let Ok(it) = object.cast::<PyBool>() {
        Ok(it.is_true().into())
    } else if let Ok(it) = object.cast::<PyInt>() {
        integer(place, it)
    } else if let Ok(it) = object.cast::<PyFloat>() {
        Ok(it.value().into())
    } else if let Ok(it) = object.cast::<PyString>() {
        Ok(Value::String(it.to_cow()?.into_owned()))
    } else if let Ok(it) = object.cast::<PyDict>() {
        Ok(Value::Dictionary(dictionary(place, it)?))
    } else if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        let entries = object.try_iter()?.enumerate();
        entries
            .map(|(at, entry)| from_python(&format!("{place}[{at}]"), &entry?))
            .collect::<PyResult<_>>()
            .map(Value::List)
    } else if let Ok(it) = object.cast::<PyBytes>() {
        Ok(Value::Bytes(it.as_bytes().to_vec()))
    } else if object.is_instance_of::<PyByteArray>() || object.is_instance_of::<PyMemoryView>() {
        let bytes = object.py().get_type::<PyBytes>().call1((object,))?;
        Ok(Value::Bytes(bytes.cast::<PyBytes>()?.as_bytes().to_vec()))
    } else if object.hasattr("dtype")? && object.hasattr("tolist")? {
        from_python(place, &object.call_method0("tolist")?)
    } else {
        let kind = object.get_type().fully_qualified_name()?;
        Err(PyTypeError::new_err(format!(
            "{place} is an object of type {kind}, expected None, bool, int, float, str, bytes, list, tuple or dict"
        )))
    }
}

fn integer(place: &str, integer: &Bound<'_, PyInt>) -> PyResult<Value> {
    if let Ok(it) = integer.extract::<i64>() {
        return Ok(it.into());
    }
    integer
        .extract::<u64>()
        .map(Into::into)
        .map_err(|_| PyOverflowError::new_err(format!("{place} is {integer}, expected -2^63 to 2^64 - 1")))
}
