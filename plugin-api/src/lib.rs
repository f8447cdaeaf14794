//! Write plugins for cobuf, the concurrent buffer.
//!
//! A **producer** fills slots of shared memory with arrays, in worker processes of its own; a **commander** says what
//! to produce, one message a batch. Each is a `cdylib` crate that depends on this crate alone, implements
//! [`Producer`] or [`Commander`], and ends with [`export_producer!`] or [`export_commander!`]. All of it is safe Rust, and
//! compiles under `#![forbid(unsafe_code)]` (with which ndarray's own `s![]` does not: use `slice_axis`, `index_axis` or
//! `outer_iter_mut`, or `#![deny(unsafe_code)]`).
//!
//! ```text
//!   Cargo.toml   [lib] crate-type = ["cdylib"]
//!                [dependencies] cobuf-plugin-api = "0.1"
//!   src/lib.rs   impl Producer for MyProducer { … }
//!                cobuf_plugin_api::export_producer!(MyProducer);
//! ```
//!
//! See [`Producer`] and [`Commander`] for complete plugins, [`testing`] to test one without a host, and the [`guide`] for everything from
//! `cobuf new` to a tuned producer.
//!
//! Logs written with `log` or `tracing` reach the application with the plugin's name and the worker's number.
//! Errors are [`anyhow::Error`]s; their chains reach the application as they are. Panics are caught.
//!
//! Producers can also be written in C and C++, with `include/cobuf.h` in this crate's folder instead of its code.
//!
//! The other modules hold what host and plugin share: [`manifest`], [`abi`], [`codec`], [`report`]. What loads where, and what is refused in
//! which words, is in [ABI.md]; `tests/plugins/abi.rs` keeps it true.
//!
//! [ABI.md]: https://github.com/cobuf/cobuf/blob/main/plugin-api/ABI.md

pub mod abi;
pub mod codec;
pub mod guide;
pub mod manifest;
pub mod report;
pub mod testing;

mod commander;
#[cfg(test)]
mod commander_tests;
mod dictionary;
mod dtype;
mod export;
mod instance;
mod logging;
mod panics;
mod producer;
mod schema;
mod seed;
mod shims;
mod slot;
mod state;
mod stop;

pub use commander::{Commander, CommanderContext};
pub use dictionary::{Dictionary, Value};
pub use dtype::{DType, Element, MAX_ELEMENT_BYTES};
pub use manifest::{Manifest, PluginKind};
pub use producer::{ProduceContext, Producer, WorkerContext};
pub use report::{Report, ReportKind};
pub use schema::{
    ArraySpec, MAX_ARRAY_NAME_BYTES, MAX_ARRAYS, MAX_DIMENSIONS, MAX_SLOT_BYTES, Schema, SchemaError, Shape,
};
pub use seed::{Rng, generator, message_seed};
pub use slot::{Slot, SlotError};
pub use state::SavedState;
pub use stop::StopFlag;

pub use {anyhow, half, log, ndarray, rand, schemars, serde};

/// What a plugin's source usually needs: `use cobuf_plugin_api::prelude::*;`
pub mod prelude {
    pub use crate::{
        ArraySpec, Commander, CommanderContext, DType, Dictionary, ProduceContext, Producer, SavedState,
        Schema, Slot, WorkerContext,
    };
    pub use anyhow::{Context as _, Result, bail, ensure};
    pub use log;
    pub use ndarray::{Ix0, Ix1, Ix2, Ix3, Ix4, Ix5, IxDyn};
    pub use rand::{Rng as _, RngExt as _};
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}

/// For the export macros only.
#[doc(hidden)]
pub mod __private {
    pub use crate::shims::{commander_header, producer_header};
    pub use abi_stable::library::LibHeader;
}
