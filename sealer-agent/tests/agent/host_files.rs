//! A home with stores, programs as children, and provers that do as a test says.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// One host's folder: home, a local and a persistent store.
pub(crate) struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    /// With both stores made.
    pub(crate) fn with_stores() -> Self {
        let host = Self::bare();
        host.succeeds(&["store", "init", &host.path("local").display().to_string()]);
        host.succeeds(&["store", "init", "--persistent", &host.path("kept").display().to_string()]);
        host
    }

    /// With nothing.
    pub(crate) fn bare() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `agent.toml`.
    pub(crate) fn configure(&self, text: &str) {
        fs::create_dir_all(self.path("home")).unwrap();
        host::durable::write(&self.path("home/agent.toml"), text.as_bytes()).unwrap();
    }

    /// A program that stands in for the prover: shell text with the job directory in `$1` and the real one in `$PROVER`.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o700).open(&path).unwrap();
        write!(file, "#!/bin/sh\nPROVER='{}'\n{text}\n", prover().display()).unwrap();
        path
    }

    /// A prover that hangs in one stage until it is [released](Self::release), and works in all others.
    pub(crate) fn hanging(&self, stage: &str) -> PathBuf {
        self.hanging_before(stage, "exec \"$PROVER\" \"$1\"")
    }

    /// A prover that hangs in one stage until it is released, and then does as the shell text says.
    pub(crate) fn hanging_before(&self, stage: &str, then: &str) -> PathBuf {
        let fifo = self.path("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let text = format!(
            "if grep -q '\"stage\":\"{stage}\"' \"$1/request.json\"; then echo $$ >> '{}'; read _ < '{}'; fi\n{then}",
            self.path("started").display(),
            fifo.display()
        );
        self.script("hanging-prover", &text)
    }

    /// Lets one hanging prover work; it must hang already.
    pub(crate) fn release(&self) {
        fs::OpenOptions::new().write(true).open(self.path("fifo")).unwrap().write_all(b"go\n").unwrap();
    }

    /// Process ids of all provers that ever began to hang.
    pub(crate) fn started(&self) -> Vec<u32> {
        let pids = fs::read_to_string(self.path("started")).unwrap_or_default();
        pids.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Runs a command to its end.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        self.program(args).output().unwrap()
    }

    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let output = self.command(args);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {words}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail; its exit code and what it says.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.command(args);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args:?} succeeded: {words}");
        (output.status.code().unwrap(), words)
    }

    /// Starts an agent at place `here`.
    pub(crate) fn agent(&self, nats_url: &str, name: &str, args: &[&str]) -> Agent {
        self.nameless_agent(nats_url, name, &[args, &["--name", name]].concat())
    }

    /// Starts an agent at place `here` that finds itself a name.
    pub(crate) fn nameless_agent(&self, nats_url: &str, log: &str, args: &[&str]) -> Agent {
        let log = self.path(&format!("{log}.log"));
        let file = fs::File::create(&log).unwrap();
        let mut command = self.program(&["run", "--nats", nats_url, "--place", "here"]);
        let child = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Agent { child, log }
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealer-agent"));
        command.args(args).env("SEALSTREAM_HOME", self.path("home")).env("SEALSTREAM_AGENT_ALLOW_CPU", "true");
        command.env("SEALSTREAM_AGENT_HEARTBEAT", "1s").env("SEALSTREAM_AGENT_GRACE", "2s").env("RUST_LOG", "info");
        command
    }
}

/// The real prover, which lies beside the agent.
pub(crate) fn prover() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_sealer-agent")).with_file_name("prover");
    assert!(path.is_file(), "{} is missing: cargo build --workspace --bins", path.display());
    path
}

/// A running agent, killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it as a power switch would.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        self.stop()
    }

    /// The same for one whose log is still to be read.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }

    /// Sends it a signal; to it alone, not to its provers.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("== {}\n{}", self.log.display(), self.log());
        }
    }
}

/// Processes whose command line holds `text`.
pub(crate) fn processes_with(text: &str) -> usize {
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}
