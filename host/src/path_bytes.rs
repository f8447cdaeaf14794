//! Paths on the wire, as bytes: a path need not be UTF-8, and serde refuses such a one.
//!
//! For `#[serde(with = "crate::path_bytes")]`, on a path, an optional one, or a list of them. In
//! formats for people a path stays a text.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that consists of paths.
pub(crate) trait Paths: Serialize + DeserializeOwned {
    /// The same, with bytes for each path.
    type Wire: Serialize + DeserializeOwned;
    fn to_wire(&self) -> Self::Wire;
    fn from_wire(wire: Self::Wire) -> Self;
}

pub(crate) fn serialize<T: Paths, S: Serializer>(paths: &T, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        paths.serialize(serializer)
    } else {
        paths.to_wire().serialize(serializer)
    }
}

pub(crate) fn deserialize<'de, T: Paths, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    if deserializer.is_human_readable() {
        T::deserialize(deserializer)
    } else {
        T::Wire::deserialize(deserializer).map(T::from_wire)
    }
}

impl Paths for PathBuf {
    type Wire = Bytes;

    fn to_wire(&self) -> Bytes {
        Bytes(self.as_os_str().as_bytes().to_vec())
    }

    fn from_wire(wire: Bytes) -> Self {
        OsString::from_vec(wire.0).into()
    }
}

impl Paths for Option<PathBuf> {
    type Wire = Option<Bytes>;

    fn to_wire(&self) -> Self::Wire {
        self.as_ref().map(Paths::to_wire)
    }

    fn from_wire(wire: Self::Wire) -> Self {
        wire.map(Paths::from_wire)
    }
}

impl Paths for Vec<PathBuf> {
    type Wire = Vec<Bytes>;

    fn to_wire(&self) -> Self::Wire {
        self.iter().map(Paths::to_wire).collect()
    }

    fn from_wire(wire: Self::Wire) -> Self {
        wire.into_iter().map(Paths::from_wire).collect()
    }
}

/// Bytes that serde treats as one value, not as a list of numbers.
pub(crate) struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsBytes;

        impl<'de> Visitor<'de> for AsBytes {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a path")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(AsBytes)
    }
}

#[cfg(all(test, not(cobuf_loom)))]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Some {
        #[serde(with = "crate::path_bytes")]
        one: PathBuf,
        #[serde(with = "crate::path_bytes")]
        maybe: Option<PathBuf>,
        #[serde(with = "crate::path_bytes")]
        none: Option<PathBuf>,
        #[serde(with = "crate::path_bytes")]
        many: Vec<PathBuf>,
    }

    fn paths(name: &[u8]) -> Some {
        let path = PathBuf::from(OsString::from_vec(name.to_vec()));
        Some {
            one: path.clone(),
            maybe: Option::Some(path.clone()),
            none: None,
            many: vec![path.clone(), path],
        }
    }

    #[test]
    fn any_path_crosses_the_wire() {
        for name in [&b"/tmp/plain"[..], b"", b"/tmp/\xff\xfe", "/tmp/žluťoučký".as_bytes()] {
            let paths = paths(name);
            let encoded = rmp_serde::to_vec_named(&paths).unwrap();
            assert_eq!(rmp_serde::from_slice::<Some>(&encoded).unwrap(), paths);
        }
    }

    #[test]
    fn path_stays_a_text_for_people() {
        let text = serde_json::to_string(&paths(b"/tmp/x")).unwrap();
        assert_eq!(text, r#"{"one":"/tmp/x","maybe":"/tmp/x","none":null,"many":["/tmp/x","/tmp/x"]}"#);
        assert_eq!(serde_json::from_str::<Some>(&text).unwrap(), paths(b"/tmp/x"));
    }
}
