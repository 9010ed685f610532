//! What a person and a service manager see of a program that is built on this crate.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

fn service() -> Command {
    // Cargo builds the example next to this test: target/<profile>/{deps/<test>, examples/service}.
    let test = env::current_exe().unwrap();
    let program: PathBuf = test.ancestors().nth(2).unwrap().join("examples/service");
    let mut command = Command::new(program);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A service that has said a line with `word` in it.
fn started(manners: &str, word: &str) -> (Child, BufReader<ChildStderr>) {
    let mut child = service().args(["run", "--manners", manners]).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    read_until(&mut stderr, word);
    (child, stderr)
}

fn read_until(stderr: &mut BufReader<ChildStderr>, word: &str) {
    let mut said = String::new();
    while !said.contains(word) {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "ended without {word:?}: {said}");
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_signal_ends_it_well() {
    for sent in [Signal::TERM, Signal::INT] {
        let (mut child, mut stderr) = started("good", "running");
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("a second signal stops at once") && !rest.contains("error:"), "{rest}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut child, mut stderr) = started("deaf", "running");
    signal(&child, Signal::TERM);
    read_until(&mut stderr, "waiting for tasks to end");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_task_that_ends_untold_ends_it_badly() {
    let output = service().args(["run", "--manners", "hasty"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.ends_with("error: serve: task worker ended by itself\n"), "{stderr}");
}

#[test]
fn a_wrong_configuration_has_its_code_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("service.toml");
    host::durable::write(&file, b"row = 3\n").unwrap();
    let output = service().arg("--config").arg(&file).arg("list").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty());
    let want =
        format!("error: unknown key `row` in {}:1: did you mean `rows`?\nhint: known here: rows\n", file.display());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), want);
}

#[test]
fn a_senseless_command_line_is_a_usage_error() {
    let output = service().arg("--colour").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}

#[test]
fn a_reader_may_go_away() {
    let mut child = service().args(["list", "-o", "jsonl"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "0\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn logs_are_json_lines_where_no_person_reads() {
    let mut child = service().arg("run").stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line.get("level").unwrap(), "INFO");
    assert_eq!(line.get("message").unwrap(), "running");
}
