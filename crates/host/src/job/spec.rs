//! What is asked of a job.

use std::{ffi::OsString, path::PathBuf, time::Duration};

#[cfg(doc)]
use super::{Job, MARK};

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
    /// How it is watched.
    pub watch: Watch,
}

/// Where a job's talk goes, what it may take, and how its processes are known: for one that is started and for one that
/// is adopted.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Where its stdout and stderr are appended. Past 16 MiB it starts anew.
    pub stderr: PathBuf,
    /// How long it may take, from its start or its adoption.
    pub deadline: Option<Duration>,
    /// Its progress file, and how long it may neither rewrite that nor use the processor.
    pub silence: Option<(PathBuf, Duration)>,
    /// Bytes of memory of its own (mapped files do not count) that it and its group may hold. Looked at once a second:
    /// only the kernel's limit of a cgroup is exact.
    pub memory_max: Option<u64>,
    /// How it is known, wherever it moves.
    pub kin: Kin,
    /// How long it may take to end after TERM.
    pub grace: Duration,
}

/// What a job's processes have in common besides their group.
#[derive(Debug, Clone, Default)]
pub struct Kin {
    /// What the variable [`MARK`] holds in their environment; must be the job's alone. Whoever carries it is ended with
    /// the job.
    pub mark: Option<OsString>,
    /// Folders of the job's own cgroup, one for each hierarchy. Whoever is in it is ended with the job, and what the
    /// kernel kills in it for want of memory is known for certain.
    pub cgroups: Vec<PathBuf>,
}

/// A process that an earlier one started as a [`Job`] and left running.
#[derive(Debug, Clone)]
pub struct Orphan {
    /// Its process id, which is also that of its group.
    pub pid: u32,
    /// How it is watched from now on.
    pub watch: Watch,
}
