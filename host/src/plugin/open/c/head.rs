//! What both sides know of a call: its head, texts, and what functions return.

use std::ffi::{c_char, c_int, c_void};

/// What a function returns where all is well.
pub(super) const OK: c_int = 0;
/// What a function of the host's returns where it has failed.
pub(super) const ERROR: c_int = 1;

/// `cobuf_call`: what a plugin sees of a [`Call`], which begins with it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct CallHead {
    /// The table of [`Host`](super::abi::Host), which is made of functions that take the call: not named here, so that a call can be
    /// made without knowing them.
    pub(super) host: *const c_void,
    pub(super) log_level: u32,
}

/// The path of an entry, or another text of the plugin's, with a zero at its end.
pub(super) type Text = *const c_char;
