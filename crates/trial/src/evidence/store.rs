//! What lay in the stores.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A line of `stores.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum StoreLine {
    /// A store, before the sectors in it.
    Store {
        /// When it was looked at.
        at: u64,
        /// Its identity.
        store: String,
        /// Whether it keeps finished replicas.
        persistent: bool,
        /// The place that opens it.
        place: String,
        /// Where it is.
        path: String,
        /// Bytes of its file system.
        bytes_total: u64,
        /// Bytes of it that an ordinary user may still fill.
        bytes_free: u64,
    },
    /// The files of one sector in it. In a local store they are relative to the sector's folder, in a persistent one
    /// to the store.
    Files {
        /// The store.
        store: String,
        /// Whether that keeps finished replicas.
        persistent: bool,
        /// The sector.
        sector: String,
        /// Its manifest, if there is one and it is JSON.
        manifest: Option<Value>,
        /// The files, by name; the manifest and locks are not among them.
        files: Vec<FileSeen>,
    },
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSeen {
    /// Its name, with `/` between folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest in hex.
    pub sha256: String,
}
