//! The functions that a plugin in C can call. They turn the plugin's pointers into references;
//! [`Call`] and [`Dict`] do the work.
//!
//! By `cobuf.h`, a plugin passes only pointers that it was given or that are its own, and they are
//! valid: texts end with a zero, out parameters are writable, counts are right. The header's
//! documentation says which thread may call each function.
#![expect(unsafe_code, reason = "reads and writes memory through a plugin's pointers")]

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::slice;

use cobuf_plugin_api::MAX_DIMENSIONS;

use super::abi::{Host, Lengths};
use super::call::Call;
use super::dictionary::Dict;
use super::head::{ERROR, OK, Text};

pub(super) static HOST: Host = Host {
    log,
    stop_requested,
    fail,
    declare,
    has,
    get_bool,
    get_int,
    get_uint,
    get_float,
    get_text,
    get_bytes,
    get_ints,
    get_length,
    get_key,
    encoded,
    random_bytes,
    set_rows,
    put_bool,
    put_int,
    put_float,
    put_text,
};

pub(super) static LENGTHS: Lengths = Lengths { declare_at_most, set_shape };

/// The plugin's text. Bytes that are not UTF-8 are replaced.
///
/// # Safety
/// The text ends with a zero, and stays valid for `'a`.
unsafe fn text<'a>(text: Text) -> Cow<'a, str> {
    // SAFETY: by this function's own contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}

fn done(call: &Call<'_>, result: anyhow::Result<()>) -> c_int {
    if call.take(result).is_some() { OK } else { ERROR }
}

fn give<T>(call: &Call<'_>, result: anyhow::Result<T>, place: &mut MaybeUninit<T>) -> c_int {
    let give = |value| {
        place.write(value);
    };
    done(call, result.map(give))
}

fn give_many<T>(
    call: &Call<'_>,
    result: anyhow::Result<*const [T]>,
    place: &mut MaybeUninit<*const T>,
    count: &mut MaybeUninit<usize>,
) -> c_int {
    let give = |values: *const [T]| {
        place.write(values.cast());
        count.write(values.len());
    };
    done(call, result.map(give))
}

unsafe extern "C" fn log(call: &Call<'_>, level: u32, message: Text) {
    // SAFETY: the plugin's text, by this module's contract.
    call.log(level, &unsafe { text(message) });
}

extern "C" fn stop_requested(call: &Call<'_>) -> c_int {
    call.stop_requested().into()
}

unsafe extern "C" fn fail(call: &Call<'_>, message: Text) {
    // SAFETY: the plugin's text, by this module's contract.
    call.fail(unsafe { text(message) }.into_owned());
}

/// The plugin's shape, which may be null for a single number.
///
/// # Safety
/// The shape has this many entries, and stays valid for `'a`.
unsafe fn lengths<'a>(dimensions: u32, shape: *const usize) -> &'a [usize] {
    match dimensions {
        0 => &[],
        // SAFETY: by this function's own contract.
        _ => unsafe { slice::from_raw_parts(shape, dimensions as usize) },
    }
}

unsafe extern "C" fn declare(
    call: &Call<'_>,
    name: Text,
    dtype: u32,
    dimensions: u32,
    shape: *const usize,
) -> c_int {
    // SAFETY: as for `declare_at_most`.
    unsafe { declare_at_most(call, name, dtype, dimensions, shape, 0) }
}

unsafe extern "C" fn declare_at_most(
    call: &Call<'_>,
    name: Text,
    dtype: u32,
    dimensions: u32,
    shape: *const usize,
    axes: u32,
) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    let name = unsafe { text(name) };
    // SAFETY: the plugin's shape has this many entries, by this module's contract.
    let shape = unsafe { lengths(dimensions, shape) };
    done(call, call.declare(&name, dtype, shape, axes))
}

unsafe extern "C" fn has(_call: &Call<'_>, dict: &Dict<'_>, path: Text) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    dict.has(&unsafe { text(path) }).into()
}

/// Functions that read one value by its path.
macro_rules! getters {
    ($( $name:ident: $type:ty, $read:expr; )*) => { $(
        unsafe extern "C" fn $name(call: &Call<'_>, dict: &Dict<'_>, path: Text, value: &mut MaybeUninit<$type>) -> c_int {
            // SAFETY: the plugin's text, by this module's contract.
            let path = unsafe { text(path) };
            give(call, $read(dict, &path), value)
        }
    )* };
}

getters! {
    get_bool: c_int, |dict: &Dict<'_>, path: &str| dict.bool(path).map(c_int::from);
    get_int: i64, Dict::int;
    get_uint: u64, Dict::uint;
    get_float: f64, Dict::float;
    get_text: Text, Dict::text;
    get_length: usize, Dict::length;
}

unsafe extern "C" fn get_bytes(
    call: &Call<'_>,
    dict: &Dict<'_>,
    path: Text,
    bytes: &mut MaybeUninit<*const u8>,
    count: &mut MaybeUninit<usize>,
) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    let found = dict.bytes(&unsafe { text(path) }).map(|bytes| &raw const *bytes);
    give_many(call, found, bytes, count)
}

unsafe extern "C" fn get_ints(
    call: &Call<'_>,
    dict: &Dict<'_>,
    path: Text,
    values: &mut MaybeUninit<*const i64>,
    count: &mut MaybeUninit<usize>,
) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    give_many(call, dict.ints(&unsafe { text(path) }), values, count)
}

unsafe extern "C" fn get_key(
    call: &Call<'_>,
    dict: &Dict<'_>,
    path: Text,
    index: usize,
    key: &mut MaybeUninit<Text>,
) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    give(call, dict.key(&unsafe { text(path) }, index), key)
}

extern "C" fn encoded(
    _call: &Call<'_>,
    dict: &Dict<'_>,
    bytes: &mut MaybeUninit<*const u8>,
    count: &mut MaybeUninit<usize>,
) {
    bytes.write(dict.encoded().as_ptr());
    count.write(dict.encoded().len());
}

unsafe extern "C" fn random_bytes(call: &Call<'_>, bytes: *mut u8, count: usize) -> c_int {
    if count == 0 {
        return OK;
    }
    // SAFETY: the plugin's memory has this many bytes, by this module's contract. They may be
    // uninitialised.
    unsafe { bytes.write_bytes(0, count) };
    // SAFETY: as above, and the bytes are initialised now.
    done(call, call.fill_randomly(unsafe { slice::from_raw_parts_mut(bytes, count) }))
}

extern "C" fn set_rows(call: &Call<'_>, rows: usize) -> c_int {
    done(call, call.set_rows(rows))
}

unsafe extern "C" fn set_shape(call: &Call<'_>, name: Text, dimensions: u32, shape: *const usize) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    let name = unsafe { text(name) };
    if dimensions as usize > MAX_DIMENSIONS {
        // Not read: a number that was never set may be any.
        let said = anyhow::anyhow!(
            "array {name:?} was given a shape of {dimensions} axes, expected at most {MAX_DIMENSIONS}"
        );
        return done(call, Err(said));
    }
    // SAFETY: the plugin's shape has this many entries, by this module's contract.
    done(call, call.set_shape(&name, unsafe { lengths(dimensions, shape) }))
}

unsafe extern "C" fn put_bool(call: &Call<'_>, key: Text, value: c_int) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    done(call, call.put(&unsafe { text(key) }, (value != 0).into()))
}

unsafe extern "C" fn put_int(call: &Call<'_>, key: Text, value: i64) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    done(call, call.put(&unsafe { text(key) }, value.into()))
}

unsafe extern "C" fn put_float(call: &Call<'_>, key: Text, value: f64) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    done(call, call.put(&unsafe { text(key) }, value.into()))
}

unsafe extern "C" fn put_text(call: &Call<'_>, key: Text, value: Text) -> c_int {
    // SAFETY: the plugin's text, by this module's contract.
    let value = unsafe { text(value) }.into_owned();
    // SAFETY: as above.
    done(call, call.put(&unsafe { text(key) }, value.into()))
}
