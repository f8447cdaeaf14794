//! Configurations and messages on the command line: JSON, or a file with TOML or JSON.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cobuf_host::{Dictionary, config_from_toml, set_entry};

/// A dictionary from the command line, and the file that it came from, if it did.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) entries: Dictionary,
    pub(crate) file: Option<PathBuf>,
}

impl Given {
    /// Reads the value of an option: a JSON object, or the name of a file, with or without `@`
    /// before it.
    pub(crate) fn read(option: &str, value: &OsStr) -> Result<Self> {
        let wrong =
            || format!("{option} {value:?} is wrong, expected a JSON object, or a file with TOML or JSON");
        if let Some(json) = value.to_str().filter(|text| is_json(text)) {
            return Ok(Self { entries: parse(json).with_context(wrong)?, file: None });
        }
        let bytes = value.as_bytes();
        let file = Path::new(OsStr::from_bytes(bytes.strip_prefix(b"@").unwrap_or(bytes)));
        let text = fs::read_to_string(file).with_context(wrong)?;
        Ok(Self { entries: parse(&text).with_context(wrong)?, file: Some(file.to_owned()) })
    }

    /// The folder of the file, if there is one: paths in the configuration are relative to it.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        Some(self.file.as_ref()?.canonicalize().ok()?.parent()?.to_owned())
    }
}

/// The configuration from `--config`, or else the one that is there already, with the changes of
/// `--set`; `None` if there is none of these.
pub(crate) fn config(
    value: Option<&OsStr>,
    there: Option<Dictionary>,
    settings: &[String],
) -> Result<Option<Given>> {
    let mut config = match value {
        Some(value) => Some(Given::read("--config", value)?),
        None => there.map(|entries| Given { entries, file: None }),
    };
    for setting in settings {
        let entries = &mut config.get_or_insert_default().entries;
        set_entry(entries, setting).context("--set cannot be applied")?;
    }
    Ok(config)
}

/// Whether a text is JSON and not TOML, in which no line begins with a brace.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn parse(text: &str) -> Result<Dictionary> {
    Ok(if is_json(text) { serde_json::from_str(text)? } else { config_from_toml(text)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_a_file_of_toml_becomes_text_as_in_a_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, "since = 2024-05-01\n[range]\nends = [12:30:00]\n").unwrap();
        let given = Given::read("--config", file.as_os_str()).unwrap();
        assert_eq!(given.entries.to_string(), r#"{"range":{"ends":["12:30:00"]},"since":"2024-05-01"}"#);
    }
}
