//! Configuration: defaults, then a TOML file, then environment variables, then flags; the later wins.

use std::path::PathBuf;

use serde::{Serialize, de::DeserializeOwned};

use crate::exit::CliError;

/// Where a program's configuration comes from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// Whether a missing file is an error (a person named it) or means "defaults" (the usual place).
    pub file_required: bool,
    /// Prefix of the environment variables, with its last underscore: `SEALSTREAM_AGENT_`. Behind it, two underscores
    /// part a table from its key: `SEALSTREAM_AGENT_QUEUE__ACK_WAIT` is `queue.ack_wait`.
    pub env_prefix: &'static str,
    /// What flags said: a JSON object shaped like the file. Nulls, and `Value::Null` as a whole, say nothing.
    pub overrides: serde_json::Value,
}

/// One setting as it holds now, and who said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its dotted name, as in `queue.ack_wait`.
    pub key: String,
    /// Its value, as TOML would show it.
    pub value: String,
    /// `default`, a file's path, `environment variable SEALSTREAM_…` or `command line`.
    pub origin: String,
}

/// Reads the configuration of a program. `T` must be `#[serde(default, deny_unknown_fields)]`, as must be every table
/// in it.
///
/// # Errors
///
/// An unreadable file, an unknown key (with the nearest known one), a value of a wrong type: all with the place where
/// it was said, and [`crate::exit::Exit::Config`].
pub fn load<T>(_sources: &Sources) -> Result<T, CliError>
where
    T: Default + Serialize + DeserializeOwned,
{
    todo!()
}

/// Every setting with its origin, in the order of its name.
///
/// # Errors
///
/// As [`load`].
pub fn explain<T>(_sources: &Sources) -> Result<Vec<Setting>, CliError>
where
    T: Default + Serialize + DeserializeOwned,
{
    todo!()
}
