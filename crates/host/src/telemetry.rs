//! Logs: one line an event, on stderr, filtered by `RUST_LOG`.
//!
//! INFO is a change of state, WARN means that it went on anyway, ERROR that a person must look. An error is logged once,
//! where it is handled.

use std::{
    env,
    io::{IsTerminal as _, stderr},
    panic,
    sync::OnceLock,
};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use crate::{
    exit::{CliError, Exit},
    tasks::words_of,
};

const FILTER_VARIABLE: &str = "RUST_LOG";

/// Changes the filter of this process's log. One, as the log is one.
static FILTER: OnceLock<SetFilter> = OnceLock::new();

type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>;

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

/// Starts logging for this process; panics are logged too. Call it once, before anything that logs. `unsaid` is the
/// filter when `RUST_LOG` is not set: `info`, perhaps with libraries that say too much.
///
/// # Errors
///
/// `RUST_LOG` makes no sense, or logging was started before.
pub fn init(format: LogFormat, unsaid: &str) -> Result<(), CliError> {
    let filter = filter(env::var(FILTER_VARIABLE).ok().as_deref(), unsaid)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let (started, set): (_, SetFilter) = match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(is_colourful()).with_filter_reloading();
            let handle = lines.reload_handle();
            (lines.finish().try_init(), Box::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            (lines.finish().try_init(), Box::new(move |filter| handle.reload(filter)))
        }
    };
    started.map_err(|error| CliError::new(Exit::Failure, "start logging").because(error))?;
    // Logging was just started, and starts once.
    let _set = FILTER.set(set);
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at, "panicked: {}", words_of(panic.payload()));
    }));
    Ok(())
}

/// Logs by another filter from now on, and says whether it does: `RUST_LOG` wins while it is set.
///
/// # Errors
///
/// The filter makes no sense, or logging was not started.
pub fn set_filter(spec: &str) -> Result<bool, CliError> {
    let filter = EnvFilter::try_new(spec).map_err(|error| {
        CliError::new(Exit::Config, format!("log = {spec:?}"))
            .because(error)
            .hint("write a level, or levels by module: log = \"info,sealer_agent=debug\"")
    })?;
    if env::var(FILTER_VARIABLE).is_ok_and(|said| !said.is_empty()) {
        return Ok(false);
    }
    let set = FILTER.get().ok_or_else(|| CliError::new(Exit::Failure, "logging was not started"))?;
    set(filter).map_err(|error| CliError::new(Exit::Failure, "change the log's filter").because(error))?;
    Ok(true)
}

fn filter(spec: Option<&str>, unsaid: &str) -> Result<EnvFilter, CliError> {
    let spec = spec.filter(|spec| !spec.is_empty()).unwrap_or(unsaid);
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
    fn a_filter_is_the_default_unless_said() {
        for said in [None, Some("")] {
            assert_eq!(filter(said, "info").unwrap().to_string(), "info");
        }
        assert_eq!(filter(Some("warn,host=debug"), "info").unwrap().to_string(), "host=debug,warn");
    }

    #[test]
    fn a_senseless_filter_is_refused_with_a_hint() {
        let error = filter(Some("host=loud"), "info").unwrap_err();
        assert_eq!(error.exit, Exit::Config);
        assert!(error.render().contains("RUST_LOG = \"host=loud\""), "{}", error.render());
        assert!(error.hint.is_some());
    }
}
