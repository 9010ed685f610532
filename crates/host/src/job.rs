//! A child process with limits, of which every way to end has a name.
//!
//! ```text
//!             start
//!               │
//!   ┌────── running ──────┬───────────────┬──────────────┐
//!   │ exit or signal      │ deadline      │ silence      │ cancel
//!   │                     ▼               ▼              ▼
//!   │                    TERM to the group, then `grace`
//!   │                     │
//!   ▼                     ▼
//!  KILL to the group, reap the child, see the group gone ─► JobEnd
//! ```
//!
//! The child leads a process group of its own, so that what it starts is ended with it. The group is killed before the
//! child is reaped: until then the kernel gives its number to nobody else. A process that moves to another session (a
//! daemon) leaves the group and is found by the [mark](MARK) that it inherited, or by its cgroup.
//!
//! The child gets this process's environment, nothing on stdin, and its log as stdout and stderr. It does not die with
//! this process: hours of work are not lost to a restart of its parent. The next process [adopts](Job::adopt) it: it is
//! watched and ended as a child would be, only its exit status is never known.

use std::{
    fmt, io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    process::Command,
    signal::unix,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use self::{family::Family, group::Group, leader::Leader, log::Log, memory::Appetite, silence::Silence};
pub use self::{
    family::{MARK, end_marked},
    spec::{JobSpec, Kin, Orphan, Watch},
};

mod family;
mod group;
mod leader;
mod log;
mod memory;
mod silence;
mod spec;
mod stat;

/// How long the kernel may take to end what was killed. Only a process stuck in the kernel takes longer.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// How often the limits are looked at, at least.
const TICK: Duration = Duration::from_secs(1);

/// How soon after its start they are looked at, and as long as its log grows fast.
const TICK_FIRST: Duration = Duration::from_millis(20);

/// How often it is looked whether a killed group is gone.
const GONE_TICK: Duration = Duration::from_millis(5);

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
    /// It was killed for want of memory: the host's, its cgroup's, or what it may hold.
    OutOfMemory,
    /// It took longer than its deadline and was ended.
    TimedOut,
    /// Its progress file stood still for longer than allowed while it hardly used the processor, and it was ended.
    Silent,
    /// It was asked to end by its cancel token.
    Cancelled,
    /// It works on: its cancel token ended the waiting, and it was to be [left](Job::left_when_cancelled).
    Left,
    /// Its status is unknown: it was adopted, something else in this process reaped it, or the kernel does not let it
    /// die.
    Lost,
}

impl fmt::Display for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::Crashed { signal } => match Signal::from_named_raw(*signal) {
                Some(name) => write!(f, "crashed by {name:?}"),
                None => write!(f, "crashed by signal {signal}"),
            },
            Self::OutOfMemory => f.write_str("killed for want of memory"),
            Self::TimedOut => f.write_str("ended at its deadline"),
            Self::Silent => f.write_str("ended for its silence"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Left => f.write_str("left at work"),
            Self::Lost => f.write_str("ended in an unknown way"),
        }
    }
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

/// A child process in a process group of its own. Dropped before its end, the group is killed, unless it was left.
#[derive(Debug)]
pub struct Job {
    when_cancelled: WhenCancelled,
    leader: Leader,
    group: Group,
    log: Log,
    silence: Option<Silence>,
    deadline: Option<Instant>,
    appetite: Option<Appetite>,
    family: Family,
    grace: Duration,
    memory: memory::Kills,
}

/// What the cancel token does to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenCancelled {
    End,
    Leave,
    /// It was left.
    Left,
}

impl Job {
    /// Starts it. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The log cannot be opened, or the program does not start.
    pub fn start(spec: JobSpec) -> Result<Self, StartError> {
        let log_error = |source| StartError::Log { path: spec.watch.stderr.clone(), source };
        let spawn_error = |source| StartError::Spawn { program: spec.program.clone(), source };
        let log = Log::open(&spec.watch.stderr).map_err(log_error)?;
        let (stdout, stderr) = (log.handle().map_err(log_error)?, log.handle().map_err(log_error)?);
        // Before the child exists, so that its end cannot be missed.
        let children = unix::signal(unix::SignalKind::child()).map_err(spawn_error)?;
        let memory = memory::Kills::among(&spec.watch.kin.cgroups);
        let family = Family::of(spec.watch.kin.clone());
        let child = Command::new(&spec.program)
            .args(&spec.args)
            .current_dir(&spec.dir)
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .envs(family.variable())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(spawn_error)?;
        let group = child
            .id()
            .and_then(Group::led_by)
            .ok_or_else(|| spawn_error(io::Error::other("the child has no process id")))?;
        Ok(Self::watched(Leader::Child { child, children }, group, log, memory, spec.watch))
    }

    /// Takes over a job that an earlier process left running; `None` when it is gone, or `is_it` says that the process
    /// is another one by now. Its natural end is [`JobEnd::Lost`]: only its files can say how it went. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Its log cannot be opened, or the kernel does not let it be watched.
    pub fn adopt(orphan: Orphan, is_it: impl FnOnce() -> bool) -> io::Result<Option<Self>> {
        let Orphan { pid, watch } = orphan;
        let Some(group) = Group::led_by(pid) else { return Ok(None) };
        let log = Log::open(&watch.stderr)?;
        let memory = memory::Kills::among(&watch.kin.cgroups);
        let Some(leader) = Leader::adopt(pid, is_it)? else { return Ok(None) };
        Ok(Some(Self::watched(leader, group, log, memory, watch)))
    }

    fn watched(leader: Leader, group: Group, log: Log, memory: memory::Kills, watch: Watch) -> Self {
        let now = Instant::now();
        Self {
            when_cancelled: WhenCancelled::End,
            leader,
            group,
            log,
            silence: watch.silence.map(|(file, limit)| Silence::watch(file, limit, group, now)),
            deadline: watch.deadline.map(|limit| now + limit),
            appetite: watch.memory_max.map(|bytes_max| Appetite { group, bytes_max }),
            family: Family::of(watch.kin),
            grace: watch.grace,
            memory,
        }
    }

    /// Its process id, which is also that of its group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.group.id()
    }

    /// Has the cancel token end the waiting alone: the job works on, for whoever [adopts](Job::adopt) it.
    #[must_use]
    pub fn left_when_cancelled(mut self, left: bool) -> Self {
        self.when_cancelled = if left { WhenCancelled::Leave } else { WhenCancelled::End };
        self
    }

    /// Waits for its end, and sees to it: by itself, by a limit, or by `cancel`. Afterwards no process of its group
    /// and of its [kin](Kin) is left. A child that ends well while it is being ended still counts as ended by the limit: what it left on disk
    /// says whether it was done.
    pub async fn wait(mut self, cancel: &CancellationToken) -> JobEnd {
        let stopped_by = self.watch(cancel).await;
        if stopped_by == Some(JobEnd::Cancelled) && self.when_cancelled == WhenCancelled::Leave {
            self.when_cancelled = WhenCancelled::Left;
            return JobEnd::Left;
        }
        if stopped_by.is_some() {
            self.group.signal(Signal::TERM);
            self.ended_within(self.grace).await;
        }
        let status = self.bury().await;
        match (stopped_by, status) {
            (Some(end), _) => end,
            (None, Some(status)) => self.end_of(status),
            (None, None) => JobEnd::Lost,
        }
    }

    /// The limit that it ran into; `None` when it ended by itself.
    async fn watch(&mut self, cancel: &CancellationToken) -> Option<JobEnd> {
        let mut tick = TICK_FIRST;
        loop {
            let now = Instant::now();
            if self.leader.has_ended(self.group) {
                return None;
            }
            if cancel.is_cancelled() {
                return Some(JobEnd::Cancelled);
            }
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Some(JobEnd::TimedOut);
            }
            if self.silence.as_mut().is_some_and(|silence| silence.is_over_limit(now)) {
                return Some(JobEnd::Silent);
            }
            if self.appetite.as_ref().is_some_and(Appetite::is_over_limit) {
                return Some(JobEnd::OutOfMemory);
            }
            tick = if self.log.cut_if_long() { TICK_FIRST } else { (tick * 2).min(TICK) };
            let limits = [self.deadline, self.silence.as_ref().map(Silence::runs_out_at)];
            let next_look = limits.into_iter().flatten().fold(now + tick, Instant::min);
            tokio::select! {
                () = self.leader.changed() => {}
                () = cancel.cancelled() => {}
                () = tokio::time::sleep_until(next_look) => {}
            }
        }
    }

    /// Waits for the child's end, so long.
    async fn ended_within(&mut self, limit: Duration) -> bool {
        let late = sleep(limit);
        tokio::pin!(late);
        loop {
            if self.leader.has_ended(self.group) {
                return true;
            }
            tokio::select! {
                () = self.leader.changed() => {}
                () = &mut late => return self.leader.has_ended(self.group),
            }
        }
    }

    /// Kills what is left of the group, reaps the child, and waits until the kernel has let go of the rest.
    async fn bury(&mut self) -> Option<ExitStatus> {
        // An adopted leader may be reaped by now, and then its number is the group's only while a member lives.
        if self.leader.holds_its_number(self.group) || !self.group.is_gone() {
            self.group.signal(Signal::KILL);
        }
        if !self.ended_within(KILL_LIMIT).await {
            tracing::error!(pid = self.pid(), "a killed job does not end: it is stuck in the kernel");
            return None;
        }
        let pid = self.pid();
        let status = self.leader.reap().await.inspect_err(|error| tracing::error!(pid, %error, "reap a job"));
        let late = Instant::now() + KILL_LIMIT;
        while !self.group.is_gone() {
            if Instant::now() >= late {
                tracing::error!(group = self.pid(), "a killed process group does not end: it is stuck in the kernel");
                break;
            }
            sleep(GONE_TICK).await;
        }
        let late = Instant::now() + KILL_LIMIT;
        while self.family.kill() > 0 {
            if Instant::now() >= late {
                tracing::error!(job = self.pid(), "what a job left behind does not end: it is stuck in the kernel");
                break;
            }
            sleep(GONE_TICK).await;
        }
        status.ok().flatten()
    }

    fn end_of(&self, status: ExitStatus) -> JobEnd {
        match (status.code(), status.signal()) {
            (Some(code), _) => JobEnd::Exited { code },
            (None, Some(signal)) if signal == Signal::KILL.as_raw() && self.memory.has_risen() => JobEnd::OutOfMemory,
            (None, Some(signal)) => JobEnd::Crashed { signal },
            (None, None) => JobEnd::Lost,
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Unreaped, the child still holds the group's number; the runtime reaps it afterwards.
        if self.when_cancelled != WhenCancelled::Left && self.leader.holds_its_number(self.group) {
            self.group.signal(Signal::KILL);
            self.family.kill();
        }
    }
}

#[cfg(test)]
mod tests;
