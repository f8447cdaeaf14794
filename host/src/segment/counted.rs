//! Atomics that count how cache lines move between cores. For the tests of `cache_lines` only.
//!
//! ```text
//!   a core reads   a line that it has: nothing          one that it has not: the line moves, and is shared
//!   a core writes  a line that it alone has: nothing    any other: the line moves, and is its own
//! ```
//!
//! That is the protocol of all processors with coherent caches (MESI), with caches that never evict. A write to a line
//! that the core shares counts as a move, too: it waits for the other cores as long as for the line. One thread
//! plays all cores, one after the other, so the counts are the same each time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{self, Ordering};

/// The bytes of a line.
const LINE: usize = 64;

thread_local! {
    /// The core that this thread plays.
    static CORE: Cell<usize> = const { Cell::new(0) };
    /// The cores that have each line.
    static LINES: RefCell<HashMap<usize, BTreeSet<usize>>> = RefCell::new(HashMap::new());
    /// How often each line has moved.
    static MOVES: RefCell<HashMap<usize, u64>> = RefCell::new(HashMap::new());
}

/// Plays a core from now on.
pub(super) fn play(core: usize) {
    CORE.set(core);
}

/// How often each line has moved since the last call, by its address.
pub(super) fn moves() -> HashMap<usize, u64> {
    MOVES.take().into_iter().map(|(line, moves)| (line * LINE, moves)).collect()
}

/// Notes a read, or a write, of this address by the core that is played.
pub(super) fn touch(address: usize, writes: bool) {
    let core = CORE.get();
    let moved = LINES.with_borrow_mut(|lines| {
        let cores = lines.entry(address / LINE).or_default();
        let is_first = cores.is_empty();
        let has = cores.contains(&core) && (!writes || cores.len() == 1);
        if writes {
            cores.clear();
        }
        cores.insert(core);
        !has && !is_first
    });
    if moved {
        MOVES.with_borrow_mut(|moves| *moves.entry(address / LINE).or_default() += 1);
    }
}

macro_rules! counted {
    ($($name:ident: $value:ty;)*) => {
        $(
            /// An atomic of which each access is noted.
            #[derive(Debug, Default)]
            #[repr(transparent)]
            pub(crate) struct $name(atomic::$name);

            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }

                /// The atomic, of which an access is noted.
                fn noted(&self, writes: bool) -> &atomic::$name {
                    touch(std::ptr::from_ref(self).addr(), writes);
                    &self.0
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    self.noted(false).load(order)
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    self.noted(true).store(value, order);
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    self.noted(true).swap(value, order)
                }

                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    self.noted(true).fetch_add(value, order)
                }

                pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    self.noted(true).fetch_sub(value, order)
                }

                pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    self.noted(true).fetch_or(value, order)
                }

                pub(crate) fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                    self.noted(true).fetch_and(value, order)
                }

                pub(crate) fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                    self.noted(true).fetch_max(value, order)
                }

                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.noted(true).compare_exchange(current, new, success, failure)
                }
            }
        )*
    };
}

counted! {
    AtomicU32: u32;
    AtomicU64: u64;
}
