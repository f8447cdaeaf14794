//! Where the plugins of the built-in cases come from: packages of a checkout, or names on
//! `COBUF_PLUGIN_PATH`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use cobuf_host::{Commander, Dictionary, Host, HostBuilder, PLUGIN_PATH, Plugin, Value};

/// The folder of a checkout that has their packages.
const FOLDER: &str = "plugins";

/// The plugins that the cases need, built.
#[derive(Debug)]
pub(crate) struct Plugins(BTreeMap<&'static str, Plugin>);

impl Plugins {
    /// Builds or looks up each of these plugins.
    pub(crate) fn find(names: impl IntoIterator<Item = &'static str>) -> Result<Self> {
        let mut found = BTreeMap::new();
        for name in names {
            if !found.contains_key(name) {
                found.insert(name, built(name)?);
            }
        }
        Ok(Self(found))
    }

    /// The plugin of this name.
    ///
    /// # Panics
    /// Panics if the case does not list it.
    pub(crate) fn get(&self, name: &str) -> Plugin {
        self.0.get(name).cloned().unwrap_or_else(|| unreachable!("the case does not list {name}"))
    }

    /// A host whose batches are so small that only the hand-over takes time.
    pub(crate) fn tiny(&self) -> HostBuilder {
        self.filling(&[bytes(&[16])], Dictionary::new().with("index", 7))
    }

    /// A host of the same batches, which makes one of each message that this process submits.
    pub(crate) fn submitted(&self) -> HostBuilder {
        self.producing(&[bytes(&[16])]).commander(Commander::Application)
    }

    /// As [`tiny`](Self::tiny), but each batch has a length of its own.
    pub(crate) fn tiny_with_length(&self) -> HostBuilder {
        let at_most = bytes(&[16]).with("at_most", vec![Value::from(0)]);
        let shapes = Dictionary::new().with("x", vec![Value::from(16)]);
        let builder = self.filling(&[], Dictionary::new().with("index", 7));
        let arrays: Vec<Value> = vec![at_most.into()];
        builder.producer_config(Dictionary::new().with("arrays", arrays).with("shapes", shapes))
    }

    /// A host that fills these arrays, and gets this message again without end.
    pub(crate) fn filling(&self, arrays: &[Dictionary], message: Dictionary) -> HostBuilder {
        let messages: Vec<Value> = vec![message.into()];
        self.producing(arrays)
            .commander(self.get("list-commander"))
            .commander_config(Dictionary::new().with("messages", messages).with("repeat", 0))
    }

    fn producing(&self, arrays: &[Dictionary]) -> HostBuilder {
        let arrays: Vec<Value> = arrays.iter().cloned().map(Value::from).collect();
        let config = Dictionary::new().with("arrays", arrays);
        Host::builder().producer(self.get("fill-producer")).producer_config(config)
    }
}

/// An array of bytes, as the fill-producer's configuration describes it.
pub(crate) fn bytes(shape: &[usize]) -> Dictionary {
    let shape: Vec<Value> = shape.iter().map(|&length| length.into()).collect();
    Dictionary::new().with("name", "x").with("dtype", "u8").with("shape", shape)
}

fn built(name: &str) -> Result<Plugin> {
    let package = Path::new(FOLDER).join(name);
    let is_checkout = package.join("Cargo.toml").is_file();
    let plugin = if is_checkout { Plugin::package(package) } else { Plugin::named(name) };
    plugin.built().with_context(|| {
        format!(
            "the built-in cases need the plugin {name}: run them in a checkout of cobuf, which has it in {FOLDER}/, \
             or name in {PLUGIN_PATH} the folder in which it was built"
        )
    })
}
