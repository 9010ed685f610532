//! The one folder of a host where Sealstream keeps its configuration and its data.

use std::path::PathBuf;

/// The flag, else `$SEALSTREAM_HOME`, else `~/.sealstream`; absolute.
#[must_use]
pub fn resolve(_flag: Option<PathBuf>) -> PathBuf {
    todo!()
}
