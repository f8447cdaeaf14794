//! The JSON Schema that a plugin in C gives for its configuration. The host shows it unchanged, and
//! uses it to find fields that the plugin does not know.
//!
//! As for plugins in Rust, a field that the plugin does not read is a mistake and must be reported.
//! The plugin checks the types and values of the fields when it reads them.

use std::ffi::CStr;
use std::fmt;

use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::{Dictionary, Value};
use serde_json::Value as Json;

/// A configuration's JSON Schema, an object.
pub(super) struct ConfigSchema(Json);

impl ConfigSchema {
    /// Reads the plugin's text. Without one, any dictionary is accepted.
    pub(super) fn parse(text: Option<&CStr>) -> Result<Self, String> {
        let Some(text) = text else {
            return Ok(Self(serde_json::json!({ "type": "object", "additionalProperties": true })));
        };
        let wrong = |reason: String| {
            format!("the config_schema in its cobuf_producer is wrong: {reason}; give a JSON Schema, or NULL")
        };
        let schema: Json =
            serde_json::from_slice(text.to_bytes()).map_err(|error| wrong(error.to_string()))?;
        if schema.is_object() {
            Ok(Self(schema))
        } else {
            Err(wrong(format!("it is {schema}, expected an object")))
        }
    }

    /// Refuses a configuration that is not a dictionary, or that has a field which the schema does
    /// not name.
    pub(super) fn check(&self, config: &[u8]) -> Result<(), CodecError> {
        let config: Dictionary = codec::decode("the configuration", config)?;
        check_fields(&self.0, &config, "")
    }
}

/// As JSON.
impl fmt::Display for ConfigSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Checks dictionaries whose "properties" are named inline; the plugin checks the others, such as
/// those behind "$ref".
fn check_fields(schema: &Json, dictionary: &Dictionary, path: &str) -> Result<(), CodecError> {
    let Some(fields) = schema.get("properties").and_then(Json::as_object) else { return Ok(()) };
    let open = schema.get("additionalProperties").is_some_and(|others| *others != Json::Bool(false));
    for (key, value) in dictionary.iter() {
        let place = format!("{path}{key}");
        match (fields.get(key), value) {
            (Some(field), Value::Dictionary(inner)) => check_fields(field, inner, &format!("{place}."))?,
            (None, _) if !open => {
                let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(CodecError::UnknownField { what: "the configuration", path: place, known });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn refusal(schema: &CStr, config: Dictionary) -> Option<String> {
        let encoded = codec::encode("the configuration", &config).unwrap();
        let checked = ConfigSchema::parse(Some(schema)).unwrap().check(&encoded);
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn a_field_that_the_schema_does_not_name_is_refused() {
        let schema = c"{\"properties\": {\"width\": {}, \"crop\": {\"properties\": {\"left\": {}}}}}";
        let crop =
            |field: &str| Dictionary::new().with("width", 1).with("crop", Dictionary::new().with(field, 1));
        assert_eq!(refusal(schema, crop("left")), None);
        assert_eq!(
            refusal(schema, crop("lft")).unwrap(),
            "the configuration has a field \"crop.lft\" that is not known; known are: left"
        );
        assert!(
            refusal(schema, Dictionary::new().with("with", 1)).unwrap().ends_with("known are: crop, width")
        );
    }

    #[test]
    fn any_field_is_accepted_if_the_schema_is_open() {
        let any = Dictionary::new().with("anything", 1);
        assert_eq!(refusal(c"{\"properties\": {}, \"additionalProperties\": true}", any.clone()), None);
        assert_eq!(refusal(c"{}", any), None);
    }

    #[test]
    fn a_schema_that_is_not_a_json_object_is_refused() {
        for text in [c"{", c"3"] {
            let refused = ConfigSchema::parse(Some(text)).err().unwrap();
            assert!(refused.contains("give a JSON Schema, or NULL"), "{refused}");
        }
    }
}
