//! Messages of streams, as the recorder saw them.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A line of `queue.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum QueueLine {
    /// A stream is there for the first time, or begins anew after a wipe or a restore: what was stored before counts
    /// as another life of it, and sequences start over.
    Begins {
        /// When it was noticed.
        at: u64,
        /// The stream: `KV_SECTORS`.
        stream: String,
        /// When the server says it was created.
        created: String,
    },
    /// A stream that was there is not any more.
    Gone {
        /// When it was noticed.
        at: u64,
        /// The stream.
        stream: String,
    },
    /// Sequences that the stream did not keep until the recorder came: what they held is not known.
    Missed {
        /// When it was noticed.
        at: u64,
        /// The stream.
        stream: String,
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A stored message.
    Stored(Stored),
    /// A message to a work queue, as a listener heard it: it was published, and is stored unless the server refused
    /// it. (A second consumer of a work queue would take its messages away.)
    Published {
        /// When it was heard.
        at: u64,
        /// Its subject.
        subject: String,
        /// Its headers.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// What it says.
        #[serde(flatten)]
        body: Body,
    },
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// When the recorder had it.
    pub at: u64,
    /// When the server stored it, in microseconds since the Unix epoch.
    pub stored_us: u64,
    /// The stream.
    pub stream: String,
    /// Its sequence: for a bucket, the revision of the key.
    pub seq: u64,
    /// Its subject: for a bucket, `$KV.<bucket>.<key>`.
    pub subject: String,
    /// Its headers: `KV-Operation` (`DEL`, `PURGE`), `Nats-Marker-Reason`, `Nats-TTL` …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// It is JSON.
    Json(Value),
    /// It is not.
    Base64(String),
}

impl Body {
    /// Reads a payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        match serde_json::from_slice(payload) {
            Ok(value) => Self::Json(value),
            Err(_) => Self::Base64(STANDARD.encode(payload)),
        }
    }

    /// The JSON, if it is JSON.
    #[must_use]
    pub const fn json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Base64(_) => None,
        }
    }
}
