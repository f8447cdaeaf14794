//! A message or a configuration as a plugin in C reads it: by path, in the types of C.
//!
//! It is decoded when something is first asked for, so that a plugin with its own decoder does not
//! pay for this one. Values that the plugin has pointers to stay in place as long as the dictionary
//! lives, which is the call.

use std::cell::{OnceCell, RefCell};
use std::ffi::CString;

use cobuf_plugin_api::codec::{self, CodecError};
use cobuf_plugin_api::{Dictionary, Value};

use super::head::Text;

/// The most bytes of a wrong value that an error shows.
const SHOWN_BYTES: usize = 100;

/// `cobuf_dict`, which is opaque to the plugin.
pub(super) struct Dict<'a> {
    what: &'static str,
    encoded: &'a [u8],
    whole: OnceCell<Result<Value, String>>,
    /// Values that C needs in another form than the decoded dictionary has. These lists never
    /// shrink.
    texts: RefCell<Vec<CString>>,
    lists: RefCell<Vec<Box<[i64]>>>,
}

impl<'a> Dict<'a> {
    /// `what` names the dictionary in errors, such as "the message".
    pub(super) fn new(what: &'static str, encoded: &'a [u8]) -> Self {
        Self { what, encoded, whole: OnceCell::new(), texts: RefCell::default(), lists: RefCell::default() }
    }

    /// The MessagePack bytes.
    pub(super) fn encoded(&self) -> &[u8] {
        self.encoded
    }

    /// Whether there is a value that is not null.
    pub(super) fn has(&self, path: &str) -> bool {
        self.find(path).is_ok_and(|value| value.is_some_and(|value| *value != Value::Null))
    }

    pub(super) fn bool(&self, path: &str) -> anyhow::Result<bool> {
        self.read(path, "a boolean", |value| if let Value::Bool(value) = value { Some(*value) } else { None })
    }

    pub(super) fn int(&self, path: &str) -> anyhow::Result<i64> {
        self.read(path, "an integer of 64 bits", int)
    }

    pub(super) fn uint(&self, path: &str) -> anyhow::Result<u64> {
        self.read(path, "an integer of 64 bits that is not negative", |value| match value {
            Value::Int(value) => u64::try_from(*value).ok(),
            Value::UInt(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn float(&self, path: &str) -> anyhow::Result<f64> {
        self.read(path, "a number", |value| match value {
            Value::Int(value) => Some(*value as f64),
            Value::UInt(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn text(&self, path: &str) -> anyhow::Result<Text> {
        let text = self.read(path, "text without a zero in it", |value| match value {
            Value::String(text) => CString::new(text.as_str()).ok(),
            _ => None,
        })?;
        Ok(self.keep(text))
    }

    pub(super) fn bytes(&self, path: &str) -> anyhow::Result<&[u8]> {
        self.read(
            path,
            "bytes",
            |value| if let Value::Bytes(bytes) = value { Some(&bytes[..]) } else { None },
        )
    }

    pub(super) fn ints(&self, path: &str) -> anyhow::Result<*const [i64]> {
        let values: Box<[i64]> = self.read(path, "a list of integers of 64 bits", |value| match value {
            Value::List(values) => values.iter().map(int).collect(),
            _ => None,
        })?;
        // Moving the box into the list does not move the values in it.
        let place = &raw const *values;
        self.lists.borrow_mut().push(values);
        Ok(place)
    }

    pub(super) fn length(&self, path: &str) -> anyhow::Result<usize> {
        self.read(path, "a list or a dictionary", |value| match value {
            Value::List(values) => Some(values.len()),
            Value::Dictionary(entries) => Some(entries.len()),
            _ => None,
        })
    }

    /// The key of a dictionary's entry, by its index.
    pub(super) fn key(&self, path: &str, index: usize) -> anyhow::Result<Text> {
        let expected = format!("a dictionary with an entry {index}");
        let key = self.read(path, &expected, |value| match value {
            Value::Dictionary(entries) => CString::new(entries.iter().nth(index)?.0).ok(),
            _ => None,
        })?;
        Ok(self.keep(key))
    }

    fn keep(&self, text: CString) -> Text {
        let place = text.as_ptr();
        self.texts.borrow_mut().push(text);
        place
    }

    /// The value at the path, converted by `take`.
    fn read<'s, T>(
        &'s self,
        path: &str,
        expected: &str,
        take: impl FnOnce(&'s Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let value = self.find(path)?;
        if let Some(taken) = value.and_then(take) {
            return Ok(taken);
        }
        let found =
            value.map_or_else(|| "nothing is there".to_owned(), |value| format!("it is {}", shown(value)));
        let reason = format!("{found}, expected {expected}");
        let path = if path.is_empty() { "." } else { path };
        Err(CodecError::Decode { what: self.what, path: path.to_owned(), reason }.into())
    }

    /// The value at the path: keys and list indices separated by dots; an empty path means the
    /// whole.
    fn find(&self, path: &str) -> anyhow::Result<Option<&Value>> {
        let whole = self.whole.get_or_init(|| {
            let decoded = codec::decode::<Dictionary>(self.what, self.encoded);
            decoded.map(Value::Dictionary).map_err(|error| error.to_string())
        });
        let whole = whole.as_ref().map_err(|reason| anyhow::anyhow!("{reason}"))?;
        let mut steps = path.split('.').filter(|step| !step.is_empty());
        Ok(steps.try_fold(whole, |value, step| match value {
            Value::Dictionary(entries) => entries.get(step),
            Value::List(values) => values.get(step.parse::<usize>().ok()?),
            _ => None,
        }))
    }
}

fn int(value: &Value) -> Option<i64> {
    if let Value::Int(value) = value { Some(*value) } else { None }
}

fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > SHOWN_BYTES {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES));
        text.push('…');
    }
    text
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    fn encoded() -> Vec<u8> {
        let crops = vec![Value::from(Dictionary::new().with("left", 3)), Value::from(-1)];
        let message = Dictionary::new().with("crops", crops).with("large", u64::MAX).with("gain", 0.5);
        let message = message.with("name", "scan\0.png").with("none", Value::Null).with("on", true);
        codec::encode("a message", &message).unwrap()
    }

    #[test]
    fn a_value_is_found_by_its_path() {
        let encoded = encoded();
        let dict = Dict::new("the message", &encoded);
        assert_eq!(dict.int("crops.0.left").unwrap(), 3);
        assert_eq!(dict.int("crops.1").unwrap(), -1);
        assert_eq!(dict.uint("large").unwrap(), u64::MAX);
        assert_eq!((dict.float("gain").unwrap(), dict.float("crops.1").unwrap()), (0.5, -1.0));
        assert_eq!((dict.length("crops").unwrap(), dict.length("").unwrap()), (2, 6));
        assert!(dict.bool("on").unwrap());
        assert!(dict.has("crops.0.left") && !dict.has("none") && !dict.has("nothing") && !dict.has("on.off"));
    }

    #[test]
    fn a_wrong_value_is_reported_with_its_path_and_the_expected_type() {
        let encoded = encoded();
        let dict = Dict::new("the message", &encoded);
        let said = |error: anyhow::Error| error.to_string();
        assert_eq!(
            said(dict.uint("crops.1").unwrap_err()),
            "the message is wrong at \"crops.1\": it is -1, expected an integer of 64 bits that is not negative"
        );
        assert_eq!(
            said(dict.int("crops.2").unwrap_err()),
            "the message is wrong at \"crops.2\": nothing is there, expected an integer of 64 bits"
        );
        assert!(said(dict.int("large").unwrap_err()).contains("it is 18446744073709551615, expected"));
        assert!(said(dict.text("name").unwrap_err()).ends_with("expected text without a zero in it"));
        assert!(said(dict.ints("crops").unwrap_err()).ends_with("expected a list of integers of 64 bits"));
        assert!(said(dict.key("", 6).unwrap_err()).ends_with("expected a dictionary with an entry 6"));
    }

    #[test]
    fn bytes_that_are_not_a_dictionary_are_an_error() {
        let dict = Dict::new("the message", &[0x93]);
        assert!(dict.int("x").unwrap_err().to_string().contains("the message must be a dictionary"));
        assert!(!dict.has("x"));
    }
}
