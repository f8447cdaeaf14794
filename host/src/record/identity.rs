//! The identity of a run: the plugins, their configurations, the seed. A checkpoint or dead letters
//! of a different run are refused, and the error names the first difference.

use std::collections::BTreeMap;

use cobuf_plugin_api::codec;
use cobuf_plugin_api::manifest::ManifestInfo;
use cobuf_plugin_api::{Dictionary, PluginKind, Value};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The most bytes of a configuration's value that are kept unchanged; for longer values a digest is
/// kept.
const KEPT_VALUE_BYTES: usize = 80;

/// The commander's name if it is no plugin.
const APPLICATION: &str = "the application";

/// The settings that determine the content of a run's batches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    seed: u64,
    commander: PluginIdentity,
    producer: PluginIdentity,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PluginIdentity {
    name: String,
    version: String,
    /// The configuration's values by their paths, such as `augment.shift`.
    config: BTreeMap<String, String>,
}

impl Identity {
    /// Takes the manifest and the encoded configuration of each plugin. Without that of a commander,
    /// the application is the commander.
    pub(crate) fn new(
        seed: u64,
        commander: Option<(&ManifestInfo, &[u8])>,
        producer: (&ManifestInfo, &[u8]),
    ) -> Self {
        let commander = commander.map_or_else(PluginIdentity::of_application, PluginIdentity::new);
        Self { seed, commander, producer: PluginIdentity::new(producer) }
    }

    /// Replaces a plugin by another one with the same configuration.
    pub(crate) fn swap(&mut self, kind: PluginKind, name: &str, version: &str) {
        let plugin = match kind {
            PluginKind::Commander => &mut self.commander,
            PluginKind::Producer => &mut self.producer,
        };
        (plugin.name, plugin.version) = (name.to_owned(), version.to_owned());
    }

    /// The first difference from `before`, the identity of an earlier run, such as "the seed is 1,
    /// it was 0".
    pub(crate) fn difference(&self, before: &Self) -> Option<String> {
        if self.seed != before.seed {
            return Some(format!("the seed is {}, it was {}", self.seed, before.seed));
        }
        let commander = self.commander.difference("commander", &before.commander);
        commander.or_else(|| self.producer.difference("producer", &before.producer))
    }
}

impl PluginIdentity {
    fn new((manifest, config): (&ManifestInfo, &[u8])) -> Self {
        let mut flat = BTreeMap::new();
        // It was encoded from a dictionary.
        let dictionary: Dictionary = codec::decode("the configuration", config).unwrap_or_default();
        flatten("", &dictionary, &mut flat);
        Self { name: manifest.name.clone(), version: manifest.version.clone(), config: flat }
    }

    fn of_application() -> Self {
        Self { name: APPLICATION.to_owned(), ..Self::default() }
    }

    fn difference(&self, what: &str, before: &Self) -> Option<String> {
        if self.name != before.name {
            return Some(format!("the {what} is {}, it was {}", self.name, before.name));
        }
        if self.version != before.version {
            // An operator may want new code for the same run, but has to know whether it still
            // gives the same content.
            tracing::warn!(plugin = %self.name, now = %self.version, before = %before.version, "the run continues with another version of a plugin");
        }
        let paths = self.config.keys().chain(before.config.keys());
        let different = |path: &&String| self.config.get(*path) != before.config.get(*path);
        let path = paths.into_iter().find(different)?;
        let say =
            |config: &BTreeMap<String, String>| config.get(path).map_or("not set", |value| value).to_owned();
        Some(format!("{what}.{path} is {}, it was {}", say(&self.config), say(&before.config)))
    }
}

/// Puts each value that is not a dictionary under its path.
fn flatten(prefix: &str, dictionary: &Dictionary, flat: &mut BTreeMap<String, String>) {
    for (key, value) in dictionary.iter() {
        let path = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
        match value {
            Value::Dictionary(inner) => flatten(&path, inner, flat),
            other => drop(flat.insert(path, kept(&other.to_string()))),
        }
    }
}

fn kept(value: &str) -> String {
    if value.len() <= KEPT_VALUE_BYTES {
        return value.to_owned();
    }
    let start = &value[..value.floor_char_boundary(KEPT_VALUE_BYTES / 2)];
    format!("{start}… ({} bytes, xxh3 {:016x})", value.len(), xxh3_64(value.as_bytes()))
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn identity(seed: u64, config: &Dictionary) -> Identity {
        let plugin = |config: &Dictionary| {
            let mut flat = BTreeMap::new();
            flatten("", config, &mut flat);
            PluginIdentity { name: "p".to_owned(), version: "1".to_owned(), config: flat }
        };
        Identity { seed, commander: plugin(&Dictionary::new()), producer: plugin(config) }
    }

    #[test]
    fn the_first_difference_is_named() {
        let config = |size: i64| {
            let augment = Dictionary::new().with("shift", size).with("noise", 0.5);
            Dictionary::new().with("augment", augment).with("path", "a".repeat(100))
        };
        let now = identity(0, &config(1));
        let said = |before: &Identity| now.difference(before);
        assert_eq!(said(&identity(0, &config(1))), None);
        assert_eq!(said(&identity(7, &config(1))).unwrap(), "the seed is 0, it was 7");
        assert_eq!(said(&identity(0, &config(2))).unwrap(), "producer.augment.shift is 1, it was 2");
        assert_eq!(
            said(&identity(0, &config(1).with("mean", true))).unwrap(),
            "producer.mean is not set, it was true"
        );
        let other_path = config(1).with("path", "a".repeat(101));
        assert!(said(&identity(0, &other_path)).unwrap().starts_with("producer.path is \"aaaa"));
    }
}
