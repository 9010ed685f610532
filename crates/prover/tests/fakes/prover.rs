//! The fake prover plays its script, through real job directories.

use std::{fs, os::unix::process::ExitStatusExt as _, path::Path, process::Command};

use ::prover::{
    SealStatement, Verifier as _,
    fake::FakeVerifier,
    job::{JobResult, Output, REQUEST, RESULT, Request, Work},
};
use streams::{
    id::SectorId,
    message::{decode, encode},
};

use super::STATEMENT;

fn c2(job: &Path) -> Request {
    let SealStatement { proof, miner, number, comm_r, comm_d, ticket, seed } = STATEMENT;
    let sector = SectorId { miner, number };
    Request { proof, work: Work::C2 { sector, comm_d, comm_r, ticket, seed, c1_output: job.join("c1.json") } }
}

/// Runs a C2 job; its result if there is one, and the signal that ended it if there was one.
fn run(job: &Path, script: Option<&Path>) -> (Option<JobResult>, Option<i32>) {
    fs::create_dir_all(job).unwrap();
    host::durable::remove_file(&job.join(RESULT)).unwrap();
    host::durable::write(&job.join(REQUEST), &encode(&c2(job)).unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-prover"));
    command.arg(job);
    if let Some(script) = script {
        command.env("SEALSTREAM_FAKE_PROVER_SCRIPT", script);
    }
    let signal = command.status().unwrap().signal();
    let result = host::durable::read(&job.join(RESULT)).unwrap();
    (result.map(|bytes| decode(&bytes).unwrap()), signal)
}

#[test]
fn its_proof_is_the_one_that_the_fake_verifier_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let (result, _) = run(&dir.path().join("job"), None);
    let Some(JobResult::Done { output: Output::C2 { proof }, .. }) = result else { panic!("{result:?}") };
    assert!(FakeVerifier.seal(&STATEMENT, &proof.0).unwrap());
}

#[test]
fn it_fails_as_often_as_the_script_says() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.json");
    let text = br#"{"c2": {"times": 2, "end": {"is": "refuse", "class": "retry-elsewhere", "code": "no-space"}}}"#;
    host::durable::write(&script, text).unwrap();
    for attempt in 1..=3 {
        let (result, _) = run(&dir.path().join(format!("job-{attempt}")), Some(&script));
        match result.unwrap() {
            JobResult::Refused { code, .. } => assert!(attempt <= 2 && code == "no-space", "{attempt}: {code}"),
            JobResult::Done { .. } => assert_eq!(attempt, 3),
        }
    }
}

#[test]
fn it_dies_by_the_scripted_signal_without_a_result() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.json");
    host::durable::write(&script, br#"{"c2": {"end": {"is": "crash", "signal": 9}}}"#).unwrap();
    assert_eq!(run(&dir.path().join("job"), Some(&script)), (None, Some(9)));
}
