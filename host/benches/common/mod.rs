//! Parts that several benchmarks use: a plugin of the repository, and the smallest batch.

use std::path::Path;

use cobuf_host::{Dictionary, Plugin, Value};

/// The plugin of this name.
pub(crate) fn plugin(name: &str) -> Plugin {
    Plugin::package(Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(name))
}

/// An array of 16 bytes, as the configuration of `fill-producer` describes it.
pub(crate) fn small_array() -> Dictionary {
    Dictionary::new().with("name", "x").with("dtype", "u8").with("shape", vec![Value::from(16)])
}

/// The configuration with which `fill-producer` fills that array.
pub(crate) fn small() -> Dictionary {
    Dictionary::new().with("arrays", vec![Value::from(small_array())])
}
