//! Processes of a job that left its group: found by what they cannot shed by accident.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::Kin;

/// The variable that a job's processes carry in their environment; children inherit it, daemons too.
pub const MARK: &str = "SEALSTREAM_JOB";

/// How often it is looked whether the killed are gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Family {
    mark: Option<OsString>,
    cgroups: Vec<PathBuf>,
}

impl Family {
    pub(super) fn of(kin: Kin) -> Self {
        Self { mark: kin.mark, cgroups: kin.cgroups }
    }

    /// What its members have in their environment.
    pub(super) fn variable(&self) -> Option<(&'static str, &OsStr)> {
        Some((MARK, self.mark.as_deref()?))
    }

    /// Kills whoever is left, and answers how many that were.
    pub(super) fn kill(&self) -> usize {
        let mut pids = self.mark.as_deref().map(|mark| marked(Path::new("/proc"), mark)).unwrap_or_default();
        for cgroup in &self.cgroups {
            pids.extend(members(cgroup));
        }
        kill_all(&pids)
    }
}

/// Kills every process that carries a mark, and returns when none is left.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`], when some are still there after `limit`: they are stuck in the kernel.
pub fn end_marked(mark: &OsStr, limit: Duration) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let pids = marked(Path::new("/proc"), mark);
        if kill_all(&pids) == 0 {
            return Ok(());
        }
        if began.elapsed() > limit {
            let text = format!("processes {pids:?} of {} do not die", Path::new(mark).display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn kill_all(pids: &[u32]) -> usize {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // One that is gone meanwhile is what we wanted.
        let _gone = kill_process(pid, Signal::KILL);
    }
    pids.len()
}

/// The living who carry a mark. The dead have no environment, and that of another user's process is not ours to read.
fn marked(proc: &Path, mark: &OsStr) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let wanted = [MARK.as_bytes(), b"=", mark.as_bytes()].concat();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // Whoever runs inside a job must not end itself with the job it starts.
    let others = pids.filter(|pid| *pid != std::process::id());
    others
        .filter(|pid| {
            let environment = fs::read(proc.join(pid.to_string()).join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
        })
        .collect()
}

/// Who is in a cgroup.
fn members(cgroup: &Path) -> Vec<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid != std::process::id()).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests play the kernel and the child")]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_the_whole_value() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, environment: &str| {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("environ"), environment.replace(' ', "\0")).unwrap();
        };
        process("7", "PATH=/bin SEALSTREAM_JOB=/jobs/1 ");
        process("8", "SEALSTREAM_JOB=/jobs/12 ");
        process("9", "XSEALSTREAM_JOB=/jobs/1 ");
        process("10", "");
        assert_eq!(marked(proc.path(), OsStr::new("/jobs/1")), [7]);
    }
}
