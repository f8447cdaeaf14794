//! Write plugins for cobuf, the concurrent buffer.
//!
//! A plugin is a `cdylib` crate of one of two kinds. A **producer** fills slots of shared memory
//! with arrays; it runs in worker processes. A **commander** says what to produce, with one message
//! for each batch; it runs in one process of its own. The crate depends on this crate alone,
//! implements [`Producer`] or [`Commander`], and ends with [`export_producer!`] or
//! [`export_commander!`].
//!
//! # A plugin's package
//!
//! `cobuf new producer NAME` writes such a package. These are its lines in `Cargo.toml`:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! cobuf-plugin-api = "0.1"
//! ```
//!
//! `src/lib.rs` then has this form:
//!
//! ```text
//! use cobuf_plugin_api::prelude::*;
//!
//! impl Producer for MyProducer { … }
//!
//! cobuf_plugin_api::export_producer!(MyProducer);
//! ```
//!
//! A plugin is safe Rust and compiles under `#![forbid(unsafe_code)]`. ndarray's `s![]` macro is
//! the exception: it needs `#![deny(unsafe_code)]`, or use `slice_axis`, `index_axis` or
//! `outer_iter_mut` instead.
//!
//! # Where to read on
//!
//! - [`Producer`] and [`Commander`] each show a complete plugin.
//! - [`testing`] runs a plugin in a unit test, without a host.
//! - The [`guide`] leads from `cobuf new` to a tuned producer.
//! - `include/cobuf.h` in this crate's folder is the same interface for producers in C and C++.
//!   They do not use this crate.
//!
//! # Errors and logs
//!
//! Errors are [`anyhow::Error`]s, and their chains reach the application unchanged. Panics are
//! caught and reported as errors. Records written with `log` or `tracing` reach the application
//! with the plugin's name and the worker's number.
//!
//! # The boundary
//!
//! The modules [`manifest`], [`abi`], [`codec`], [`lengths`] and [`report`] hold the types that
//! host and plugin share. [ABI.md] says which host loads which plugin, and with which words it
//! refuses the others; `tests/plugins/abi.rs` checks that document.
//!
//! [ABI.md]: https://github.com/cobuf/cobuf/blob/main/plugin-api/ABI.md

pub mod abi;
pub mod codec;
pub mod guide;
pub mod lengths;
pub mod manifest;
pub mod report;
pub mod testing;

mod array_view;
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

pub use array_view::ViewError;
pub use commander::{Commander, CommanderContext};
pub use dictionary::{Dictionary, Value};
pub use dtype::{DType, Element, MAX_ELEMENT_BYTES};
pub use manifest::{Manifest, PluginKind};
pub use producer::{ProduceContext, Producer, WorkerContext};
pub use report::{Report, ReportKind, renew};
pub use schema::{
    ArraySpec, MAX_ARRAY_NAME_BYTES, MAX_ARRAYS, MAX_DIMENSIONS, MAX_SLOT_BYTES, Schema, SchemaError, Shape,
};
pub use seed::{Rng, generator, message_seed};
pub use slot::{Slot, SlotError};
pub use state::SavedState;
pub use stop::StopFlag;

pub use {anyhow, half, log, ndarray, rand, schemars, serde};

/// The README's program, compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The names that a plugin's source usually needs: `use cobuf_plugin_api::prelude::*;`
pub mod prelude {
    pub use crate::{
        ArraySpec, Commander, CommanderContext, DType, Dictionary, ProduceContext, Producer, SavedState,
        Schema, Slot, WorkerContext, renew,
    };
    pub use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
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
