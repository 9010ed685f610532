//! A child process with limits, of which every way to end has a name.

use std::{ffi::OsString, io, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

/// What to start, and its limits.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where it runs.
    pub dir: PathBuf,
    /// Variables it gets besides those of this process.
    pub env: Vec<(OsString, OsString)>,
    /// Where its stdout and stderr are appended.
    pub stderr: PathBuf,
    /// How long it may take.
    pub deadline: Option<Duration>,
    /// A file that it must rewrite at least that often.
    pub silence: Option<(PathBuf, Duration)>,
    /// How long it may take to end after TERM.
    pub grace: Duration,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It ended by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it that this process did not send.
    Crashed {
        /// The signal's number.
        signal: i32,
    },
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// It took longer than its deadline and was ended.
    TimedOut,
    /// Its progress file stood still for longer than allowed, and it was ended.
    Silent,
    /// It was asked to end by its cancel token.
    Cancelled,
    /// Its status could not be read: something else in this process reaped it.
    Lost,
}

/// A job could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program did not start.
    #[error("start {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its log could not be opened.
    #[error("open the log {}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A child process in a process group of its own. Dropped before it ended, the group is killed.
#[derive(Debug)]
pub struct Job {}

impl Job {
    /// Starts it. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The program or its log cannot be opened.
    pub fn start(_spec: JobSpec) -> Result<Self, StartError> {
        todo!()
    }

    /// Its process id, which is also that of its group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        todo!()
    }

    /// Waits for its end, and sees to it: by itself, by a limit, or by `cancel`. Afterwards no process of its group
    /// is left.
    pub async fn wait(self, _cancel: &CancellationToken) -> JobEnd {
        todo!()
    }
}
