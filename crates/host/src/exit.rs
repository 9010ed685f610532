//! How a program ends: one table of exit codes, and one grammar for errors.
//!
//! ```text
//! error: agent config /etc/sealstream/agent.toml: slots.gpu = 3, but 2 GPUs were found
//! hint: set slots.gpu to 2, or leave it out
//! ```
//!
//! An error is lower case and a fragment, names the path, key or id, and ends in its causes, parted by colons. A hint
//! is there when a person can act.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

/// The exit codes of every program; part of its interface. From 64 on they are those of `sysexits.h`, so that a unit
/// file can name them (`RestartPreventExitStatus=CONFIG`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it worked.
    Ok,
    /// 1: it did not, for a reason that has no code of its own.
    Failure,
    /// 2: the command line makes no sense.
    Usage,
    /// 65: stored data is corrupt, or was written by a newer version.
    Data,
    /// 66: what was named does not exist.
    NotFound,
    /// 69: NATS, the chain node or another service cannot be reached.
    Unavailable,
    /// 74: the file system or a child process failed.
    Io,
    /// 75: another process holds what this one needs; later it may work.
    Busy,
    /// 77: a rule, or the other side, said no.
    Refused,
    /// 78: the configuration is wrong.
    Config,
    /// 130: a second signal ended a shutdown that was under way.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Data => 65,
            Self::NotFound => 66,
            Self::Unavailable => 69,
            Self::Io => 74,
            Self::Busy => 75,
            Self::Refused => 77,
            Self::Config => 78,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
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
    pub source: Option<Box<dyn Error + Send + Sync + 'static>>,
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
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The lines that a person reads.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", chain(self));
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

impl From<anyhow::Error> for CliError {
    /// Keeps the code and the hint of a [`CliError`] within, however much context was put around it.
    fn from(error: anyhow::Error) -> Self {
        let (exit, hint) = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Self>())
            .map_or((Exit::Failure, None), |inner| (inner.exit, inner.hint.clone()));
        let boxed: Box<dyn Error + Send + Sync> = error.into();
        Self { message: chain(boxed.as_ref()), hint, exit, source: None }
    }
}

/// An error and its causes on one line. A cause that its parent has told already is not told again.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        let told = cause.to_string();
        if !last.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        last = told;
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs a program's body and turns its end into an exit code; an error is told on stderr.
pub fn main_with(body: impl FnOnce() -> Result<(), CliError>) -> ExitCode {
    match body() {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            // If stderr is gone, the exit code still says it.
            let _ = io::stderr().write_all(error.render().as_bytes());
            error.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_tells_its_causes_and_a_hint() {
        let error = CliError::new(Exit::Unavailable, "connect to nats://127.0.0.1:4222")
            .because(io::Error::other("connection refused"))
            .hint("start it with nats-server -c nats.conf");
        assert_eq!(
            error.render(),
            "error: connect to nats://127.0.0.1:4222: connection refused\nhint: start it with nats-server -c nats.conf\n"
        );
    }

    #[test]
    fn context_keeps_code_and_hint() {
        let inner = CliError::new(Exit::Config, "slots.gpu = 3").hint("set it to 2");
        let error = CliError::from(Err::<(), _>(inner).context("read the config").unwrap_err());
        assert_eq!((error.exit, error.hint.as_deref()), (Exit::Config, Some("set it to 2")));
        assert_eq!(error.render(), "error: read the config: slots.gpu = 3\nhint: set it to 2\n");
    }

    #[test]
    fn a_plain_error_is_a_failure() {
        let error = CliError::from(anyhow::anyhow!("disk on fire").context("write the record"));
        assert_eq!(error.exit, Exit::Failure);
        assert_eq!(error.render(), "error: write the record: disk on fire\n");
    }

    #[test]
    fn a_cause_is_told_once_and_on_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("open x: {0}")]
        struct Telling(#[source] io::Error);
        let error = CliError::new(Exit::Io, "start").because(Telling(io::Error::other("no\n  space")));
        assert_eq!(chain(&error), "start: open x: no space");
    }

    #[test]
    fn codes_are_the_table() {
        let all = [
            Exit::Ok,
            Exit::Failure,
            Exit::Usage,
            Exit::Data,
            Exit::NotFound,
            Exit::Unavailable,
            Exit::Io,
            Exit::Busy,
            Exit::Refused,
            Exit::Config,
            Exit::Interrupted,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 65, 66, 69, 74, 75, 77, 78, 130]);
    }
}
