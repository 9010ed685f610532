//! A store as its agents see it.

use serde::{Deserialize, Serialize};

use crate::{
    id::{Place, StoreId, Timestamp},
    message::Text,
};

/// Bucket `STORES`, key `<store>`: a store as its agents last saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreRecord {
    /// Its identity.
    pub store: StoreId,
    /// The place that opens it.
    pub place: Place,
    /// Its path on that place's hosts.
    pub path: String,
    /// Whether it keeps finished replicas.
    pub persistent: bool,
    /// Bytes of its filesystem.
    pub bytes_total: u64,
    /// Bytes free.
    pub bytes_free: u64,
    /// Bytes promised to sectors.
    pub bytes_reserved: u64,
    /// Sectors in it.
    pub sectors: u64,
    /// When it was seen so.
    pub at: Timestamp,
    /// Whether anything is put there. Left out while all is well, as it was before there was a word for it.
    #[serde(default, skip_serializing_if = "StoreState::is_ok")]
    pub state: StoreState,
    /// Why not, for a person; empty when all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// How a store is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    /// It can be worked with.
    #[default]
    Ok,
    /// Its path leads to no store, or to another one.
    Missing,
    /// It is only read from.
    ReadOnly,
    /// Nothing more fits.
    Full,
    /// Its disk does not answer.
    Hanging,
    /// Its disk has errors.
    Failing,
    /// A person retired it: it takes no new sectors.
    Retired,
}

impl StoreState {
    /// Whether all is well.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// One word, for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::ReadOnly => "read-only",
            Self::Full => "full",
            Self::Hanging => "hanging",
            Self::Failing => "failing",
            Self::Retired => "retired",
        }
    }
}

impl Text for StoreRecord {
    const KIND: &'static str = "store";
    const VERSION: u64 = 1;
}
