//! Logs: one line an event, on stderr, filtered by `RUST_LOG`.

use serde::{Deserialize, Serialize};

use crate::exit::CliError;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For a person.
    Text,
    /// For a collector.
    Json,
}

impl Default for LogFormat {
    /// Text on a terminal, JSON otherwise.
    fn default() -> Self {
        todo!()
    }
}

/// Starts logging for this process; panics are logged too. Call it once, first thing after the configuration.
///
/// # Errors
///
/// `RUST_LOG` makes no sense, or logging was started before.
pub fn init(_format: LogFormat) -> Result<(), CliError> {
    todo!()
}
