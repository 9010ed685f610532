//! Processes by what does not change while they live: a pid comes back, a pid with its start time does not.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// How long a killed process may take to be gone. It has no say in it, but a disk it waits for may.
const GONE_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The field of `/proc/<pid>/stat` behind the command's closing parenthesis that holds the start time (field 22).
const START_FIELD: usize = 19;

/// One process, on one boot of its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// Clock ticks from boot to its start.
    pub(crate) started: u64,
    /// The boot.
    pub(crate) boot: String,
}

impl ProcessId {
    /// This process.
    pub(crate) fn current() -> io::Result<Self> {
        Self::of(std::process::id())?.ok_or_else(|| io::Error::other("this process is not in /proc"))
    }

    /// A process that runs now.
    pub(crate) fn of(pid: u32) -> io::Result<Option<Self>> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(start_ticks(pid).map(|started| Self { pid, started, boot }))
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now.as_ref() == Some(self))
    }
}

/// Ends every prover that works on a job directory, and whatever it started; returns when none is left. An agent that
/// was killed cannot have told anybody its child's pid, but the child carries the directory as its last argument, and
/// its children as their mark.
pub(crate) fn end_job(job: &Path) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let provers = provers_of(job)?;
        if provers.is_empty() {
            return host::job::end_marked(job.as_os_str(), GONE_MAX);
        }
        if began.elapsed() > GONE_MAX {
            let pids: Vec<String> = provers.iter().map(ToString::to_string).collect();
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("process {} works on {} and does not die", pids.join(", "), job.display()),
            ));
        }
        for pid in provers {
            kill(pid);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Each prover leads a process group of its own. One that is gone already is what we wanted.
fn kill(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if kill_process_group(pid, Signal::KILL).is_err() {
        let _gone = kill_process(pid, Signal::KILL);
    }
}

/// Processes whose last argument is the job directory.
pub(crate) fn provers_of(job: &Path) -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A zombie's command line is empty: what is dead and not yet reaped counts as gone.
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let mut words = line.split(|b| *b == 0).filter(|word| !word.is_empty());
        let _program = words.next();
        if words.next_back().is_some_and(|argument| OsStr::from_bytes(argument) == job.as_os_str()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// A variable of a process, as it was when its program started.
pub(crate) fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |pair| str::from_utf8(pair).ok()?.strip_prefix(name)?.strip_prefix('=');
    environment.split(|b| *b == 0).find_map(value).map(str::to_owned)
}

/// `None` for a process that is gone, or dead and not yet reaped.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and parentheses; nothing behind it does.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(START_FIELD - 1)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(started)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt as _, process::Command};

    use super::*;

    #[test]
    fn this_process_lives_and_an_earlier_one_with_its_pid_does_not() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { started: me.started - 1, ..me.clone() }.is_alive());
        assert!(!ProcessId { boot: "another".to_owned(), ..me }.is_alive());
    }

    #[test]
    fn a_variable_is_the_one_that_the_process_was_started_with() {
        let mut child = Command::new("sleep").arg("600").env("CUDA_VISIBLE_DEVICES", "3").spawn().unwrap();
        let began = Instant::now();
        while variable(child.id(), "CUDA_VISIBLE_DEVICES").as_deref() != Some("3") {
            assert!(began.elapsed() < GONE_MAX, "its program never started");
            thread::yield_now();
        }
        assert_eq!(variable(child.id(), "CUDA_VISIBLE"), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(variable(child.id(), "CUDA_VISIBLE_DEVICES"), None, "it is gone");
    }

    #[test]
    fn a_prover_is_found_by_its_job_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        // `cat <fifo>` is a program with one argument that waits for ever.
        let mut child = Command::new("cat").arg(&fifo).process_group(0).spawn().unwrap();
        let began = Instant::now();
        while provers_of(&fifo).unwrap() != vec![child.id()] {
            assert!(began.elapsed() < GONE_MAX, "cat never appeared");
            thread::yield_now();
        }
        end_job(dir.path()).unwrap();
        assert!(ProcessId::of(child.id()).unwrap().is_some(), "another job's prover was ended");
        end_job(&fifo).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
