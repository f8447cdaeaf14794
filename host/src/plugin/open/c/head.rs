//! The parts of a call that both sides know: its head, texts, and the values that functions return.

use std::ffi::{c_char, c_int, c_void};

/// The value that a function returns on success.
pub(super) const OK: c_int = 0;
/// The value that a function of the host returns on failure.
pub(super) const ERROR: c_int = 1;
/// The value that `produce` returns if it failed and its producer is to be closed and opened anew.
/// No plugin returns it by chance, as an errno may be returned.
pub(super) const RENEW: c_int = 0x5245_4e57;

/// `cobuf_call`: the part of a `Call` that a plugin sees. A `Call` begins with it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct CallHead {
    /// Points to a [`Host`](super::abi::Host), the table of functions, which take the call. Its
    /// type is not named here, so that a call can be made without knowing them.
    pub(super) host: *const c_void,
    pub(super) log_level: u32,
}

/// The path of an entry, or another text of the plugin, with a zero at its end.
pub(super) type Text = *const c_char;
