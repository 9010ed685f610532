//! The `devnet` program: started, asked, stopped.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use devnet::{Devnet, Genesis};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{Node, Says, genesis};

/// How long the program may take to serve, or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running devnet with a hand-driven clock.
pub(crate) struct Program {
    child: Child,
    node: Node,
    folder: TempDir,
}

impl Program {
    /// Starts the program on a chain with this genesis.
    pub(crate) fn start(genesis: &Genesis, parameters: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chain = Devnet::new(genesis.clone(), Arc::new(Says(false))).unwrap();
        chain.save(&folder.path().join("chain.state")).unwrap();
        Self::on(folder, parameters)
    }

    /// Starts the program on a folder.
    pub(crate) fn on(folder: TempDir, parameters: Option<&Path>) -> Self {
        let ready = folder.path().join("ready.json");
        let mut command = command(folder.path());
        command.args(["--listen", "127.0.0.1:0", "--ready-file"]).arg(&ready);
        if let Some(parameters) = parameters {
            command.env("FIL_PROOFS_PARAMETER_CACHE", parameters);
        }
        let mut child = command.spawn().unwrap();
        let url = wait_for("the ready file", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("devnet ended: {status}");
            }
            let bytes = host::durable::read(&ready).unwrap()?;
            let ready: Value = serde_json::from_slice(&bytes).unwrap();
            Some(ready["url"].as_str().unwrap().to_owned())
        });
        Self { child, node: Node::at(&url), folder }
    }

    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// Ends it as a service manager would; its exit status and the folder it leaves.
    fn stop(mut self) -> (ExitStatus, TempDir) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = wait_for("the program's end", || self.child.try_wait().unwrap());
        host::durable::remove_file(&self.folder.path().join("ready.json")).unwrap();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (status, folder)
    }
}

impl Program {
    /// Ends it, and reads the log it leaves in its folder.
    pub(crate) fn stop_and_read_log(self) -> (Vec<Value>, TempDir) {
        let (status, folder) = self.stop();
        assert!(status.success(), "{status}");
        let log = std::fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
        (log.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), folder)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devnet"));
    command.args(["--preset", "fast", "--clock", "manual", "--data"]).arg(data);
    command.arg("--log").arg(data.join("log.jsonl")).stderr(Stdio::piped());
    command
}

fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    panic!("{what} did not come within {LIMIT:?}");
}

#[tokio::test]
async fn a_stopped_devnet_goes_on_where_it_was() {
    let program = Program::start(&genesis(), None);
    program.node().advance(7).await;
    let head = program.node().get("ChainHead", json!([])).await;
    let (status, folder) = program.stop();
    assert!(status.success(), "{status}");
    let program = Program::on(folder, None);
    assert_eq!(program.node().get("ChainHead", json!([])).await, head);
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path()).args(["--listen", &address]).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{words}");
    assert!(words.contains(&format!("error: listen on {address}")) && words.contains("hint: "), "{words}");
}
