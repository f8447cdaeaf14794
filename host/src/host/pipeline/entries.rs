//! Configurations in TOML: read as tables, and changed entry by entry.

use cobuf_plugin_api::{Dictionary, Value};
use serde::{Deserialize, Deserializer};

use super::error::PipelineError;

/// Reads a configuration from TOML, as it stands in a file of its own: the entries of a pipeline's
/// table `config`. A date or a time becomes text, such as "2024-05-01".
///
/// # Errors
/// The text is not TOML; the error names the place in it.
///
/// # Example
/// ```
/// let config = cobuf_host::config_from_toml("since = 2024-05-01\nsize = 3")?;
/// assert_eq!(config.to_string(), r#"{"since":"2024-05-01","size":3}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn config_from_toml(text: &str) -> Result<Dictionary, toml::de::Error> {
    toml::from_str(text).map(|config| with_dates_as_text(&config))
}

pub(super) fn configuration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dictionary, D::Error> {
    Dictionary::deserialize(deserializer).map(|config| with_dates_as_text(&config))
}

fn with_dates_as_text(table: &Dictionary) -> Dictionary {
    table.iter().fold(Dictionary::new(), |plain, (key, value)| plain.with(key, with_date_as_text(value)))
}

/// TOML has dates and times, and messages and configurations have none. The TOML library hands them
/// over as a table with one entry, of this name.
fn with_date_as_text(value: &Value) -> Value {
    const DATE: &str = "$__toml_private_datetime";
    match value {
        Value::Dictionary(table) => {
            let date = table.get(DATE).filter(|_| table.len() == 1);
            date.cloned().unwrap_or_else(|| with_dates_as_text(table).into())
        }
        Value::List(list) => list.iter().map(with_date_as_text).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// Applies `KEY=VALUE` to a configuration. The key may lead into tables; the value is TOML, or text
/// if it is not.
///
/// # Errors
/// [`PipelineError::Setting`].
pub fn set_entry(config: &mut Dictionary, setting: &str) -> Result<(), PipelineError> {
    let wrong = |reason| PipelineError::Setting { setting: setting.to_owned(), reason };
    let (key, value) = setting.split_once('=').ok_or_else(|| wrong("has no \"=\", expected KEY=VALUE"))?;
    let mut parts = key.trim().split('.').peekable();
    let mut table = config;
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(wrong("has an empty key, expected KEY=VALUE"));
        }
        let place = table.entry(part);
        if parts.peek().is_none() {
            *place = parse(value.trim());
            break;
        }
        if !matches!(place, Value::Dictionary(_)) {
            *place = Value::Dictionary(Dictionary::new());
        }
        let Value::Dictionary(inner) = place else { unreachable!("it was just made one") };
        table = inner;
    }
    Ok(())
}

/// The value as TOML, or as plain text: `--set producer.crop=random` needs no quotes.
fn parse(value: &str) -> Value {
    let parsed = config_from_toml(&format!("value = {value}")).ok();
    parsed.and_then(|table| table.get("value").cloned()).unwrap_or_else(|| Value::from(value))
}
