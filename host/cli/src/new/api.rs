//! Where a new plugin gets cobuf-plugin-api from: a checkout, or the registry.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The version of cobuf-plugin-api that this command speaks: they are released together.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The plugin-api's folder in the checkout that this command was built from. It does not exist if
/// the command came from the registry.
const OF_THIS_CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugin-api");
/// The guide, once there is a version in the registry.
const GUIDE: &str = "https://docs.rs/cobuf-plugin-api/latest/cobuf_plugin_api/guide/";

/// The plugin-api of a new plugin.
#[derive(Debug)]
pub(super) struct Api {
    /// The dependency, as TOML.
    pub(super) dependency: String,
    /// The address of the guide.
    pub(super) guide: String,
    /// The lock file of its workspace: with the same versions a first build needs no network.
    pub(super) lock: Option<String>,
}

impl Api {
    /// The plugin-api in this folder. The default is the checkout that this command was built from,
    /// if it is still there, and otherwise the registry.
    pub(super) fn find(folder: Option<&Path>) -> Result<Self> {
        match folder {
            Some(folder) => Self::in_folder(folder),
            None => Ok(Self::of_checkout(Path::new(OF_THIS_CHECKOUT))),
        }
    }

    fn of_checkout(folder: &Path) -> Self {
        Self::in_folder(folder).unwrap_or_else(|_| Self {
            dependency: format!("{VERSION:?}"),
            guide: GUIDE.to_owned(),
            lock: None,
        })
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let wrong =
            || format!("--plugin-api {} is wrong, expected the folder of cobuf-plugin-api", folder.display());
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).with_context(wrong)?;
        let manifest: toml::Table = manifest.parse().with_context(wrong)?;
        let name =
            manifest.get("package").and_then(|package| package.get("name")).and_then(|name| name.as_str());
        ensure!(
            name == Some("cobuf-plugin-api"),
            "{}: it has the package {}",
            wrong(),
            name.unwrap_or("of no name")
        );
        let path = folder.canonicalize().with_context(wrong)?;
        let text = path.to_str().with_context(|| format!("{}, by a path that is UTF-8", wrong()))?;
        let lock = path.parent().and_then(|workspace| fs::read_to_string(workspace.join("Cargo.lock")).ok());
        Ok(Self {
            dependency: format!("{{ path = {} }}", serde_json::Value::from(text)),
            guide: format!("<{text}/guide/01-first-steps.md>"),
            lock: lock.filter(|lock| lock.contains("name = \"cobuf-plugin-api\"")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_without_its_checkout_names_the_registry() {
        let api = Api::of_checkout(Path::new("/nowhere/plugin-api"));
        assert_eq!(api.dependency, format!("\"{VERSION}\""));
        assert!(api.guide.starts_with("https://docs.rs/cobuf-plugin-api/"), "{}", api.guide);
        assert!(api.lock.is_none());
    }

    #[test]
    fn command_with_its_checkout_depends_on_it() {
        let api = Api::find(None).unwrap();
        let path = Path::new(OF_THIS_CHECKOUT).canonicalize().unwrap();
        assert_eq!(api.dependency, format!("{{ path = {:?} }}", path.to_str().unwrap()));
        assert!(path.join("guide/01-first-steps.md").exists());
        assert!(api.lock.is_some());
    }
}
