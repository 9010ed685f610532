//! Logs: one line an event, on stderr, filtered by `RUST_LOG` (`info` unless it is set).
//!
//! INFO is a change of state, WARN means that it went on anyway, ERROR that a person must look. An error is logged once,
//! where it is handled.

use std::{
    env,
    io::{IsTerminal as _, stderr},
    panic,
};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use crate::{
    exit::{CliError, Exit},
    tasks::words_of,
};

const FILTER_VARIABLE: &str = "RUST_LOG";

/// What is logged when nobody says otherwise. The proofs library says at INFO which caches it looks into, several
/// lines a proof: that is for whoever debugs it.
const FILTER: &str = "info,filecoin_proofs=warn,storage_proofs=warn,bellperson=warn";

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
        if stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Starts logging for this process; panics are logged too. Call it once, before anything that logs.
///
/// # Errors
///
/// `RUST_LOG` makes no sense, or logging was started before.
pub fn init(format: LogFormat) -> Result<(), CliError> {
    let filter = filter(env::var(FILTER_VARIABLE).ok().as_deref())?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(is_colourful()).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| CliError::new(Exit::Failure, "start logging").because(error))?;
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at, "panicked: {}", words_of(panic.payload()));
    }));
    Ok(())
}

fn filter(spec: Option<&str>) -> Result<EnvFilter, CliError> {
    let spec = spec.filter(|spec| !spec.is_empty()).unwrap_or(FILTER);
    EnvFilter::try_new(spec).map_err(|error| {
        CliError::new(Exit::Config, format!("environment variable {FILTER_VARIABLE} = {spec:?}"))
            .because(error)
            .hint("write a level, or levels by module: RUST_LOG=info,coordinator=debug")
    })
}

/// As people ask for it everywhere: <https://no-color.org>, and a terminal that can.
fn is_colourful() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    stderr().is_terminal() && !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_info_unless_said() {
        for unsaid in [None, Some("")] {
            let filter = filter(unsaid).unwrap().to_string();
            assert!(filter.split(',').any(|directive| directive == "info"), "{filter}");
        }
        assert_eq!(filter(Some("warn,host=debug")).unwrap().to_string(), "host=debug,warn");
    }

    #[test]
    fn a_senseless_filter_is_refused_with_a_hint() {
        let error = filter(Some("host=loud")).unwrap_err();
        assert_eq!(error.exit, Exit::Config);
        assert!(error.render().contains("RUST_LOG = \"host=loud\""), "{}", error.render());
        assert!(error.hint.is_some());
    }
}
