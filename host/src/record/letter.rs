//! A message outside of the slots, under its number: one that was given up, or one that the
//! application submitted to an earlier run, which did not deliver it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A message, and its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) sequence: u64,
    #[serde(serialize_with = "serialize", deserialize_with = "deserialize")]
    pub(crate) encoded: Vec<u8>,
}

/// The bytes as hexadecimal digits, for files of text.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that [`to_hex`] wrote.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

fn serialize<S: Serializer>(encoded: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_hex(encoded))
}

fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    from_hex(&text).ok_or_else(|| de::Error::custom("\"encoded\" is not in hexadecimal digits"))
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[test]
    fn letter_is_text_in_a_file_and_the_same_when_it_is_read() {
        let letter = Letter { sequence: 7, encoded: vec![0x81, 0, 0xff] };
        let text = serde_json::to_string(&letter).unwrap();
        assert_eq!(text, r#"{"sequence":7,"encoded":"8100ff"}"#);
        assert_eq!(serde_json::from_str::<Letter>(&text).unwrap(), letter);
        let error = serde_json::from_str::<Letter>(r#"{"sequence":7,"encoded":"8g"}"#).unwrap_err();
        assert!(error.to_string().starts_with("\"encoded\" is not in hexadecimal digits"), "{error}");
    }
}
