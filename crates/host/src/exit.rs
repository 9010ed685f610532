//! How a program ends: one table of exit codes, and one grammar for errors.

use std::process::ExitCode;

/// The exit codes of every program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It worked.
    Ok = 0,
    /// It did not, for a reason that has no code of its own.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Stored data is corrupt, or was written by a newer version.
    Data = 65,
    /// What was named does not exist.
    NotFound = 66,
    /// NATS, the chain node or another service cannot be reached.
    Unavailable = 69,
    /// The file system or a child process failed.
    Io = 74,
    /// Another process holds what this one needs; later it may work.
    Busy = 75,
    /// A rule, or the other side, said no.
    Refused = 77,
    /// The configuration is wrong.
    Config = 78,
    /// A second signal ended a shutdown that was under way.
    Interrupted = 130,
}

/// An error as a person meets it: what went wrong, why, what to do, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// Lower case, a fragment, with the path, key or id.
    pub message: String,
    /// What a person can do about it.
    pub hint: Option<String>,
    /// The exit code.
    pub exit: Exit,
    /// Why.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

impl CliError {
    /// An error with this code and message.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit, source: None }
    }

    /// Adds what a person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds why it happened.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl From<anyhow::Error> for CliError {
    fn from(_error: anyhow::Error) -> Self {
        todo!()
    }
}

/// Runs a program's body and turns its end into an exit code; an error is told on stderr.
pub fn main_with(body: impl FnOnce() -> Result<(), CliError>) -> ExitCode {
    let _ = body();
    todo!()
}
