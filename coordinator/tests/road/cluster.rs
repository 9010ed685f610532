//! A whole cluster for a test: `coordinator dev --idle` in a folder of its own, stopped when dropped.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A first start may have to make proof parameters (about two minutes on two cores).
const START_WITHIN: Duration = Duration::from_secs(420);
const STOP_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) struct Cluster {
    dev: Child,
    root: tempfile::TempDir,
    bin: PathBuf,
}

/// A program of the test's own; stopped when dropped.
pub(crate) struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        stop(&mut self.0);
    }
}

impl Cluster {
    /// Starts it and waits until it has a miner.
    pub(crate) fn start(env: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let coordinator = PathBuf::from(env!("CARGO_BIN_EXE_coordinator"));
        let log = std::fs::File::create(root.path().join("dev.log")).unwrap();
        let dev = Command::new(&coordinator)
            .args(["dev", "--idle", "--dir"])
            .arg(root.path().join("cluster"))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let bin = coordinator.parent().unwrap().to_path_buf();
        let mut cluster = Self { dev, root, bin };
        cluster.until_idle();
        cluster
    }

    fn until_idle(&mut self) {
        let log = self.root.path().join("dev.log");
        let dev = &mut self.dev;
        wait_for("the cluster", START_WITHIN, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = dev.try_wait().unwrap() {
                panic!("coordinator dev ended with {status}:\n{text}");
            }
            if text.contains("the cluster keeps running") { Ok(()) } else { Err(text) }
        });
    }

    pub(crate) fn miner(&self) -> String {
        let log = std::fs::read_to_string(self.root.path().join("dev.log")).unwrap();
        let line = log.lines().find_map(|l| l.trim().strip_prefix("miner ")).expect("the log names the miner");
        line.to_owned()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("cluster").join("home")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env("SEALSTREAM_HOME", self.home()).stdin(Stdio::null());
        command
    }

    fn coordinator(&self, args: &[&str]) -> Output {
        self.command("coordinator").args(args).output().unwrap()
    }

    /// Runs a command that must work, and reads its JSON.
    pub(crate) fn answer(&self, args: &[&str]) -> Value {
        let output = self.coordinator(&[args, &["-o", "json"]].concat());
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "coordinator {args:?} ended with {}: {talk}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("coordinator {args:?}: {e}"))
    }

    /// Runs a command that must work, and returns its stdout.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let output = self.coordinator(args);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "coordinator {args:?} ended with {}: {talk}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command that must be refused, and returns what it says.
    pub(crate) fn refusal(&self, args: &[&str]) -> String {
        let output = self.coordinator(args);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "coordinator {args:?} should have been refused");
        assert!(talk.starts_with("error: "), "{talk}");
        talk
    }

    /// Starts another program in the cluster.
    pub(crate) fn spawn(&self, program: &str, args: &[&str]) -> Program {
        let log = std::fs::File::create(self.root.path().join(format!("{program}.log"))).unwrap();
        let mut command = self.command(program);
        command.args(args).stdout(log.try_clone().unwrap()).stderr(log);
        Program(command.spawn().unwrap())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        stop(&mut self.dev);
        if std::thread::panicking() {
            let kept = self.root.path().join("cluster").join("logs");
            for entry in std::fs::read_dir(kept).into_iter().flatten().flatten() {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let tail: Vec<_> = text.lines().rev().take(40).collect();
                eprintln!("== {}", entry.path().display());
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// Asks a process to end, and kills it when it does not.
fn stop(child: &mut Child) {
    let pid = Pid::from_child(child);
    let _gone_already = kill_process(pid, Signal::TERM);
    let began = Instant::now();
    while began.elapsed() < STOP_WITHIN {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Ends a process as the kernel's out-of-memory killer would.
pub(crate) fn kill9(pid: u64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Looks until there is something; after the limit, says what was seen last.
pub(crate) fn wait_for<T, E: Display>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, E>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if began.elapsed() > limit => panic!("{what} did not come within {limit:?}; last seen: {last}"),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}
