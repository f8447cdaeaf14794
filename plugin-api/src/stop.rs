//! The host's request to stop, as a plugin sees it.
#![expect(unsafe_code, reason = "reads a word of shared memory that the host gave as a pointer")]

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use abi_stable::StableAbi;

/// A word in the host's shared memory that is 0 until the host wants to stop. In a test harness
/// there is no such word.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
pub struct StopFlag {
    /// Null, or a pointer to an `AtomicU32` that stays valid until the process ends.
    word: *const u32,
}

impl StopFlag {
    /// A flag that is never set.
    pub(crate) const NEVER: Self = Self { word: ptr::null() };

    /// The flag in a word that lives as long as the process.
    pub fn new(word: &'static AtomicU32) -> Self {
        Self { word: word.as_ptr() }
    }

    /// Whether the host wants to stop.
    pub fn is_set(self) -> bool {
        // SAFETY: a word that is not null comes from `new`, so it is an `AtomicU32` and valid until
        // the process ends.
        let word = (!self.word.is_null()).then(|| unsafe { AtomicU32::from_ptr(self.word.cast_mut()) });
        word.is_some_and(|word| word.load(Ordering::Relaxed) != 0)
    }
}

impl fmt::Debug for StopFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopFlag").field(&self.is_set()).finish()
    }
}
