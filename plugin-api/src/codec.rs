//! MessagePack in both directions: the encoding of messages, metadata, configurations and error
//! reports.
//!
//! Encoding checks that the value is a dictionary. Decoding errors name the field that is wrong.
//! Configurations are read strictly: a field that the type does not have is an error, even if the
//! author did not ask serde for that.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dictionary::Dictionary;

/// The deepest nesting that is read, as in serde_json: reading is recursive, and stacks are finite.
const MAX_DEPTH: usize = 128;

/// The room with which an encoding begins: most messages fit, and are not moved while they grow.
const USUAL_BYTES: usize = 128;

/// Why a value cannot be encoded as a MessagePack dictionary, or not be decoded from one.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value is not a dictionary.
    #[error("{what} must be a dictionary (a struct or a map with text keys), this is {found}")]
    NotADictionary {
        /// The value's name: "a message", "the configuration".
        what: &'static str,
        /// The value's kind.
        found: &'static str,
    },
    /// The value cannot be encoded.
    #[error("{what} cannot be encoded")]
    Encode {
        /// The value's name.
        what: &'static str,
        /// The reason of serde or MessagePack.
        source: rmp_serde::encode::Error,
    },
    /// A field is missing, of the wrong type, or refused by its type.
    #[error("{what} is wrong{}: {reason}", at(path))]
    Decode {
        /// The value's name.
        what: &'static str,
        /// The path of the field, such as `augment.shift`; `.` is the whole value.
        path: String,
        /// The reason of serde.
        reason: String,
    },
    /// A field that the type does not have.
    #[error("{what} has a field {path:?} that is not known; known are: {known}")]
    UnknownField {
        /// The value's name.
        what: &'static str,
        /// The path of the field.
        path: String,
        /// The fields that the type has at the top.
        known: String,
    },
}

fn at(path: &str) -> String {
    if path == "." { String::new() } else { format!(" at {path:?}") }
}

/// Encodes a value as a MessagePack dictionary. `what` names the value in errors, such as "a
/// message".
///
/// # Errors
/// [`CodecError::NotADictionary`] and [`CodecError::Encode`].
pub fn encode(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    let written = rmp_serde::encode::write_named(&mut bytes, value);
    written.map_err(|source| CodecError::Encode { what, source })?;
    check_dictionary(what, &bytes)?;
    Ok(bytes)
}

/// Decodes a value from a MessagePack dictionary. It ignores fields that the type does not have.
/// Values may be nested 128 deep. `what` names the value in errors.
///
/// # Errors
/// [`CodecError::NotADictionary`] and [`CodecError::Decode`].
#[inline]
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    decode_for(what, bytes, Ok)
}

/// As [`decode`], but passes the value on instead of returning it: a large one is then not moved from
/// one result to the next.
#[inline]
pub(crate) fn decode_for<T: DeserializeOwned, R, E: From<CodecError>>(
    what: &'static str,
    bytes: &[u8],
    take: impl FnOnce(T) -> Result<R, E>,
) -> Result<R, E> {
    check_dictionary(what, bytes)?;
    match T::deserialize(&mut deserializer(bytes)) {
        Ok(value) => take(value),
        Err(_) => take(decode_with_path(what, bytes)?),
    }
}

/// Tracking the path in a message takes as long as reading it. So only a wrong message is read this
/// way, again from its start.
#[cold]
fn decode_with_path<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    serde_path_to_error::deserialize(&mut deserializer(bytes))
        .map_err(|error| decode_error::<T>(what, bytes, &error))
}

/// A reader of MessagePack that goes down to [`MAX_DEPTH`].
pub(crate) fn deserializer(
    bytes: &[u8],
) -> rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'_, [u8]>> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    deserializer
}

/// Decodes a plugin's configuration: as [`decode`], but a field that the type does not have is an
/// error.
///
/// # Errors
/// As for [`decode`], and [`CodecError::UnknownField`].
pub fn decode_config<T: DeserializeOwned + schemars::JsonSchema>(bytes: &[u8]) -> Result<T, CodecError> {
    let what = "the configuration";
    check_dictionary(what, bytes)?;
    let mut unknown = None;
    let mut note_unknown = |path: serde_ignored::Path<'_>| {
        unknown.get_or_insert(path.to_string());
    };
    let mut deserializer = deserializer(bytes);
    let config = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(
        &mut deserializer,
        &mut note_unknown,
    ))
    .map_err(|error| decode_error::<T>(what, bytes, &error))?;
    match unknown {
        Some(path) => Err(CodecError::UnknownField { what, path, known: known_fields::<T>() }),
        None => Ok(config),
    }
}

/// The JSON Schema of a configuration type, as JSON text.
pub(crate) fn config_schema<T: schemars::JsonSchema>() -> String {
    schemars::schema_for!(T).as_value().to_string()
}

fn known_fields<T: schemars::JsonSchema>() -> String {
    let schema = schemars::schema_for!(T);
    let properties = schema.get("properties").and_then(|value| value.as_object());
    match properties {
        Some(fields) if !fields.is_empty() => fields.keys().cloned().collect::<Vec<_>>().join(", "),
        _ => "none".to_owned(),
    }
}

/// MessagePack's own reasons read `wrong msgpack marker FixStr(3)`. The same value, decoded as
/// JSON, gives serde's reason: `invalid type: string "far", expected u32`.
fn decode_error<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    error: &serde_path_to_error::Error<rmp_serde::decode::Error>,
) -> CodecError {
    let value = Dictionary::deserialize(&mut deserializer(bytes))
        .ok()
        .and_then(|value| serde_json::to_value(value).ok());
    let clearer = value.and_then(|value| serde_path_to_error::deserialize::<_, T>(value).err());
    let path = error.path().to_string();
    // Only a reason for the same field will do: JSON has no bytes and no infinite numbers, so it
    // may fail elsewhere.
    let clearer = clearer.filter(|clearer| clearer.path().to_string() == path);
    let reason = clearer.map_or_else(|| error.inner().to_string(), |clearer| clearer.inner().to_string());
    CodecError::Decode { what, path, reason }
}

/// The first byte of a MessagePack value tells its kind; see
/// <https://github.com/msgpack/msgpack/blob/master/spec.md>.
fn check_dictionary(what: &'static str, bytes: &[u8]) -> Result<(), CodecError> {
    let found = match bytes.first() {
        Some(0x80..=0x8f | 0xde | 0xdf) => return Ok(()),
        None => "nothing",
        Some(0xc0) => "null",
        Some(0xc2 | 0xc3) => "a boolean",
        Some(0x90..=0x9f | 0xdc | 0xdd) => "a list",
        Some(0xa0..=0xbf | 0xd9..=0xdb) => "text",
        Some(0xc4..=0xc6) => "bytes",
        Some(_) => "a number",
    };
    Err(CodecError::NotADictionary { what, found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::Value;
    use proptest::prelude::*;

    #[derive(Debug, Deserialize, schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its fields' names and types matter")]
    struct Config {
        batch_size: u32,
        augment: Option<Augment>,
    }

    #[derive(Debug, Deserialize, schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its fields' names and types matter")]
    struct Augment {
        shift: u32,
        noise: Option<f64>,
    }

    fn config_error(dictionary: Dictionary) -> String {
        decode_config::<Config>(&encode("the configuration", &dictionary).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn wrong_configuration_is_refused_by_field() {
        let unknown = config_error(Dictionary::new().with("batch_size", 1).with("batchsize", 2));
        assert_eq!(
            unknown,
            "the configuration has a field \"batchsize\" that is not known; known are: augment, batch_size"
        );
        let nested =
            Dictionary::new().with("batch_size", 1).with("augment", Dictionary::new().with("shift", "far"));
        let nested = config_error(nested);
        assert!(nested.contains("\"augment.shift\": invalid type: string \"far\", expected u32"), "{nested}");
        assert!(config_error(Dictionary::new()).contains("missing field `batch_size`"));
    }

    #[test]
    fn integer_is_accepted_as_a_float() {
        let augment = Dictionary::new().with("shift", 1).with("noise", 1);
        let config =
            encode("the configuration", &Dictionary::new().with("batch_size", 1).with("augment", augment));
        decode_config::<Config>(&config.unwrap()).unwrap();
    }

    #[test]
    fn message_that_is_no_dictionary_is_refused() {
        let error = encode("a message", &vec![1, 2]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a message must be a dictionary (a struct or a map with text keys), this is a list"
        );
        assert!(encode("a message", &()).unwrap_err().to_string().ends_with("this is null"));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            any::<Vec<u8>>().prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(3, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((".*", inner), 0..6).prop_map(|entries| dictionary(entries).into()),
            ]
        })
    }

    fn dictionary(entries: Vec<(String, Value)>) -> Dictionary {
        entries.into_iter().fold(Dictionary::new(), |all, (key, value)| all.with(key, value))
    }

    proptest! {
        #[test]
        fn every_dictionary_survives_encoding(entries in prop::collection::vec((".*", value()), 0..8)) {
            let message = dictionary(entries);
            let bytes = encode("a message", &message).unwrap();
            prop_assert_eq!(decode::<Dictionary>("a message", &bytes).unwrap(), message);
        }
    }
}
