//! The envelope that all texts share.
//!
//! Every text is one JSON object with its version in `v`. Reading checks it first: a version this program does not
//! know is an error that names both, never a guess. Formats are held still by the golden files in `streams/golden/`.

use serde::{Serialize, de::DeserializeOwned};

/// A text with a name and a version.
pub trait Text: Serialize + DeserializeOwned {
    /// What it is called in errors, and the name of its golden file.
    const KIND: &'static str;
    /// The version this program writes and the only one it reads.
    const VERSION: u64;
}

/// A text that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadText {
    /// Not a JSON object, or not one of the expected shape.
    #[error("{kind} is malformed")]
    Malformed {
        /// The text's name.
        kind: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// Written by another version of Sealstream.
    #[error("{kind} has version {found}, this program reads version {expected}: upgrade the older side")]
    UnknownVersion {
        /// The text's name.
        kind: &'static str,
        /// The version in the text (0 when it has none).
        found: u64,
        /// The version this program reads.
        expected: u64,
    },
}

/// A text as it is written: its version, then its fields in the order of their declaration.
#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u64,
    #[serde(flatten)]
    text: &'a T,
}

/// Writes a text with its version. The bytes are the same in every build: no map decides the order of fields.
pub fn encode<T: Text>(text: &T) -> Result<bytes::Bytes, BadText> {
    let written = serde_json::to_vec(&Versioned { v: T::VERSION, text });
    written.map(Into::into).map_err(|source| BadText::Malformed { kind: T::KIND, source })
}

/// Reads a text, refusing other versions before looking at the rest.
pub fn decode<T: Text>(bytes: &[u8]) -> Result<T, BadText> {
    let malformed = |source| BadText::Malformed { kind: T::KIND, source };
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).map_err(malformed)?;
    let found = object.remove("v").and_then(|v| v.as_u64()).unwrap_or(0);
    if found != T::VERSION {
        return Err(BadText::UnknownVersion { kind: T::KIND, found, expected: T::VERSION });
    }
    serde_json::from_value(object.into()).map_err(malformed)
}
