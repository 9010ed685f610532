//! Stores that will not come back.

use serde::{Deserialize, Serialize};

use crate::{
    id::{StoreId, Timestamp},
    message::Text,
};

/// Bucket `CLUSTER`, key `lost.<store>`: what was being sealed in this store is sealed anew elsewhere.
///
/// It stays until a person says that the store was found. A store that comes back by itself holds files of
/// generations that do not count any more, so nothing is placed in it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostStore {
    /// The store.
    pub store: StoreId,
    /// When it was given up.
    pub at: Timestamp,
    /// Why: a person's words, or how long it was silent.
    pub because: String,
}

impl LostStore {
    /// Every key of this kind.
    pub const FILTER: &'static str = "lost.*";

    /// The key of a store.
    #[must_use]
    pub fn key(store: StoreId) -> String {
        format!("lost.{store}")
    }
}

impl Text for LostStore {
    const KIND: &'static str = "lost-store";
    const VERSION: u64 = 1;
}
