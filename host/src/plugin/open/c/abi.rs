//! The structs of `plugin-api/include/cobuf.h` in Rust. They are frozen, as the header is.
//!
//! A test has the C compiler compare the offset of every field, and the numbers of the element
//! types, with these.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

use super::call::Call;
use super::dictionary::Dict;
use super::head::{CallHead, Text};

/// The version of the interface that this host supports. The manifest has it as a text, `C/1`.
pub(super) const VERSION: u32 = 1;
/// The symbol that a plugin exports: `cobuf_export`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Export {
    pub(super) version: u32,
    pub(super) sizes: [u32; 5],
    pub(super) producer: Option<&'static Producer>,
}

/// The sizes that an [`Export`] must name: those of the structs that cross the boundary.
pub(super) const SIZES: [u32; 5] = [
    size_of::<Producer>() as u32,
    size_of::<Host>() as u32,
    size_of::<CallHead>() as u32,
    size_of::<Job>() as u32,
    size_of::<Array>() as u32,
];

/// Declares the arrays.
pub(super) type SchemaFn = unsafe extern "C-unwind" fn(&Call<'_>, config: &Dict<'_>) -> c_int;
/// Makes a producer.
pub(super) type OpenFn = unsafe extern "C-unwind" fn(
    &Call<'_>,
    config: &Dict<'_>,
    worker: &Worker,
    producer: &mut *mut c_void,
) -> c_int;
/// Fills a slot.
pub(super) type ProduceFn =
    unsafe extern "C-unwind" fn(&Call<'_>, producer: *mut c_void, job: &Job<'_>) -> c_int;
/// Closes a producer.
pub(super) type CloseFn = unsafe extern "C-unwind" fn(&Call<'_>, producer: *mut c_void);

/// `cobuf_producer`. The functions may unwind: a C++ exception that leaves one propagates to the
/// point where the process aborts.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Producer {
    pub(super) config_schema: *const c_char,
    pub(super) schema: Option<SchemaFn>,
    pub(super) open: Option<OpenFn>,
    pub(super) produce: Option<ProduceFn>,
    pub(super) close: Option<CloseFn>,
}

/// `cobuf_worker`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) worker: u32,
    pub(super) workers: u32,
    pub(super) incarnation: u32,
}

/// `cobuf_array`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Array {
    pub(super) data: *mut u8,
    pub(super) bytes: usize,
    pub(super) elements: usize,
    pub(super) name: *const c_char,
    pub(super) shape: *const usize,
    pub(super) dimensions: u32,
    pub(super) dtype: u32,
}

/// `cobuf_job`.
#[repr(C)]
pub(super) struct Job<'a> {
    pub(super) sequence: u64,
    pub(super) seed: u64,
    pub(super) message: &'a Dict<'a>,
    pub(super) arrays: *const Array,
    pub(super) array_count: u32,
    pub(super) attempt: u32,
}

/// Reads the value at a path. A plugin in C often passes an uninitialised variable for it.
pub(super) type Get<T> =
    unsafe extern "C" fn(&Call<'_>, &Dict<'_>, path: Text, value: &mut MaybeUninit<T>) -> c_int;
/// Reads the list of values at a path.
pub(super) type GetMany<T> = unsafe extern "C" fn(
    &Call<'_>,
    &Dict<'_>,
    path: Text,
    values: &mut MaybeUninit<*const T>,
    count: &mut MaybeUninit<usize>,
) -> c_int;
/// Attaches an entry to the batch.
pub(super) type Put<T> = unsafe extern "C" fn(&Call<'_>, key: Text, value: T) -> c_int;

/// `cobuf_host`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Host {
    pub(super) log: unsafe extern "C" fn(&Call<'_>, level: u32, text: Text),
    pub(super) stop_requested: extern "C" fn(&Call<'_>) -> c_int,
    pub(super) fail: unsafe extern "C" fn(&Call<'_>, text: Text),
    pub(super) declare: unsafe extern "C" fn(
        &Call<'_>,
        name: Text,
        dtype: u32,
        dimensions: u32,
        shape: *const usize,
    ) -> c_int,
    pub(super) has: unsafe extern "C" fn(&Call<'_>, &Dict<'_>, path: Text) -> c_int,
    pub(super) get_bool: Get<c_int>,
    pub(super) get_int: Get<i64>,
    pub(super) get_uint: Get<u64>,
    pub(super) get_float: Get<f64>,
    pub(super) get_text: Get<Text>,
    pub(super) get_bytes: GetMany<u8>,
    pub(super) get_ints: GetMany<i64>,
    pub(super) get_length: Get<usize>,
    pub(super) get_key: unsafe extern "C" fn(
        &Call<'_>,
        &Dict<'_>,
        path: Text,
        index: usize,
        key: &mut MaybeUninit<Text>,
    ) -> c_int,
    pub(super) encoded: extern "C" fn(
        &Call<'_>,
        &Dict<'_>,
        bytes: &mut MaybeUninit<*const u8>,
        count: &mut MaybeUninit<usize>,
    ),
    pub(super) random_bytes: unsafe extern "C" fn(&Call<'_>, bytes: *mut u8, count: usize) -> c_int,
    pub(super) set_rows: extern "C" fn(&Call<'_>, rows: usize) -> c_int,
    pub(super) put_bool: Put<c_int>,
    pub(super) put_int: Put<i64>,
    pub(super) put_float: Put<f64>,
    pub(super) put_text: Put<Text>,
}

/// `cobuf_lengths`: the functions for axes that are at most n. [`Host`] is frozen, so they have a
/// table of their own; see `mod.rs` for how a plugin gets it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Lengths {
    pub(super) declare_at_most: unsafe extern "C" fn(
        &Call<'_>,
        name: Text,
        dtype: u32,
        dimensions: u32,
        shape: *const usize,
        axes: u32,
    ) -> c_int,
    pub(super) set_shape:
        unsafe extern "C" fn(&Call<'_>, name: Text, dimensions: u32, shape: *const usize) -> c_int,
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use std::io::Write;
    use std::mem::offset_of;
    use std::process::{Command, Stdio};

    use cobuf_plugin_api::DType;

    use super::*;

    macro_rules! fields {
        ($lines:ident, $($c:literal $rust:ty: $($field:ident)*;)*) => { $(
            $lines.push(format!("_Static_assert(sizeof({}) == {}, \"\");", $c, size_of::<$rust>()));
            $( $lines.push(format!(
                "_Static_assert(offsetof({}, {}) == {}, \"\");", $c, stringify!($field), offset_of!($rust, $field)
            )); )*
        )* };
    }

    #[test]
    fn header_and_host_agree_on_every_field() {
        let mut lines = vec!["#include <cobuf.h>".to_owned()];
        fields! { lines,
            "cobuf_producer" Producer: config_schema schema open produce close;
            "cobuf_call" CallHead: host log_level;
            "cobuf_worker" Worker: worker workers incarnation;
            "cobuf_array" Array: data bytes elements name shape dimensions dtype;
            "cobuf_job" Job<'_>: sequence seed message arrays array_count attempt;
            "cobuf_host" Host: log stop_requested fail declare has get_bool get_int get_uint get_float get_text
                get_bytes get_ints get_length get_key encoded random_bytes set_rows put_bool put_int put_float
                put_text;
            "cobuf_lengths" Lengths: declare_at_most set_shape;
            "cobuf_export" Export: version producer;
        }
        lines.push(format!("_Static_assert(COBUF_C_VERSION == {VERSION}, \"\");"));
        for (number, dtype) in DType::ALL.iter().enumerate() {
            let name = dtype.name().to_uppercase();
            lines.push(format!("_Static_assert(COBUF_{name} == {number}, \"\");"));
        }
        assert_eq!(cobuf_plugin_api::manifest::C_INTERFACE, format!("C/{VERSION}"));

        let include = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-api/include");
        let mut cc = Command::new("cc");
        cc.args(["-fsyntax-only", "-std=c11", "-x", "c", "-I", include, "-"]).stdin(Stdio::piped());
        let mut cc = cc.spawn().expect("there is a C compiler, cc");
        let source = lines.join("\n") + "\n";
        cc.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        assert!(cc.wait().unwrap().success());
    }
}
