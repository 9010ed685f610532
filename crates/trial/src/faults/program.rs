//! One program of the trial's cluster: started, killed, frozen, restarted, as an operating system would.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use super::diary::Diary;

/// How long a program may take to stop after TERM.
const STOP_MAX: Duration = Duration::from_secs(25);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The variable that arms a failpoint, in programs built with the feature `host/failpoints`.
pub(super) const FAILPOINT: &str = "SEALSTREAM_FAILPOINT";
/// The exit code of a Rust program whose main thread panicked.
const PANICKED: i32 = 101;

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// Its name in this trial: `east-1`.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    /// Where its stdout and stderr are appended.
    pub(super) log: PathBuf,
    pub(super) diary: Arc<Diary>,
}

/// How a program came to be down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// A signal killed it: its number.
    Killed(i32),
    /// It ended by itself with this code.
    Exited(i32),
}

impl End {
    fn of(status: ExitStatus) -> Self {
        match (status.signal(), status.code()) {
            (Some(signal), _) => Self::Killed(signal),
            (None, code) => Self::Exited(code.unwrap_or(-1)),
        }
    }

    /// Whether SIGKILL ended it.
    pub(super) fn is_kill(&self) -> bool {
        *self == Self::Killed(Signal::KILL.as_raw())
    }

    /// Whether no operator would shrug at it.
    pub(super) const fn is_panic(&self) -> bool {
        matches!(self, Self::Exited(PANICKED))
    }
}

/// A program and its process, if it runs.
#[derive(Debug)]
pub(super) struct Program {
    spec: Spec,
    child: Option<Child>,
    /// Armed for the next start alone.
    failpoint: Option<String>,
    frozen: bool,
    /// Whether it was asked to end.
    is_told: bool,
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Nobody is left to hear that it was gone already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Program {
    pub(super) const fn new(spec: Spec) -> Self {
        Self { spec, child: None, failpoint: None, frozen: false, is_told: false }
    }

    pub(super) fn log(&self) -> &Path {
        &self.spec.log
    }

    /// Arms a failpoint for the next start.
    pub(super) fn arm(&mut self, failpoint: &str) {
        self.failpoint = Some(failpoint.to_owned());
    }

    /// Starts it unless it runs.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let Spec { name, program, args, env, log, diary } = &self.spec;
        let out =
            File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
        let err = out.try_clone().with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new(program);
        command.args(args).envs(env.iter().map(|(key, value)| (key, value)));
        if let Some(failpoint) = self.failpoint.take() {
            command.env(FAILPOINT, failpoint);
        }
        // Ctrl-C at the terminal is for the trial: it stops the others.
        command.process_group(0).stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        diary.started(name, child.id());
        self.child = Some(child);
        self.is_told = false;
        self.frozen = false;
        Ok(())
    }

    pub(super) fn is_up(&self) -> bool {
        self.child.is_some() && !self.frozen
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} is not running", self.spec.name))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id of zero")?;
        kill_process(pid, signal).with_context(|| format!("signal {}", self.spec.name))
    }

    /// Kills it as a power switch would.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        if let Some(mut child) = self.child.take() {
            let status = child.wait().with_context(|| format!("reap {}", self.spec.name))?;
            self.spec.diary.ended(&self.spec.name, child.id(), &End::of(status), false);
        }
        Ok(())
    }

    /// Stops its time.
    pub(super) fn freeze(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        self.frozen = true;
        Ok(())
    }

    /// Lets it go on.
    pub(super) fn thaw(&mut self) -> anyhow::Result<()> {
        self.frozen = false;
        self.signal(Signal::CONT)
    }

    /// How it ended, if it did since the last look.
    pub(super) fn ended(&mut self) -> Option<End> {
        let child = self.child.as_mut()?;
        let (pid, status) = (child.id(), child.try_wait().ok().flatten()?);
        self.child = None;
        let end = End::of(status);
        self.spec.diary.ended(&self.spec.name, pid, &end, self.is_told);
        Some(end)
    }

    /// Waits until it ended.
    pub(super) async fn until_ended(&mut self, limit: Duration) -> Option<End> {
        let began = Instant::now();
        loop {
            let ended = self.ended();
            if ended.is_some() || self.child.is_none() || began.elapsed() > limit {
                return ended;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops it in order; one that does not stop is killed, which is an error.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        if self.child.is_none() {
            return Ok(());
        }
        if self.frozen {
            self.thaw()?;
        }
        self.is_told = true;
        self.signal(Signal::TERM)?;
        if self.until_ended(STOP_MAX).await.is_none() && self.child.is_some() {
            self.kill()?;
            anyhow::bail!("{} did not stop within {} s", self.spec.name, STOP_MAX.as_secs());
        }
        Ok(())
    }
}
