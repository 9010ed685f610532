//! What is expected of disks: table `store` of `agent.toml`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::health::HANG_AFTER;

/// What is expected of disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// How long a disk may be silent before its store is set aside.
    #[serde(with = "host::duration")]
    pub(crate) hang_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { hang_after: HANG_AFTER }
    }
}
