//! What a run leaves for the checker, and the checker's word on it: programs of their own, so that nothing of the
//! suite can colour them.

use std::{
    ffi::OsString,
    path::Path,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;

use super::{
    cluster::Cluster,
    diary::Diary,
    layout::Layout,
    program::{Program, Spec},
    tally::Tally,
};

/// The chain's part of the evidence.
const CHAIN: &str = "chain.jsonl";
/// What the checker may take for a run of ten minutes.
const CHECK_MAX: Duration = Duration::from_secs(120);

/// The devnet writes down what it does.
pub(super) fn devnet_args(layout: &Layout, mut args: Vec<OsString>) -> Vec<OsString> {
    if !is_kept(layout) {
        return args;
    }
    args.extend(["--log".into(), layout.evidence().join(CHAIN).into()]);
    args
}

/// Whether this build has the recorder and the checker.
pub(super) fn is_kept(layout: &Layout) -> bool {
    ["recorder", "checker"].iter().all(|program| layout.bin.join(program).exists())
}

/// The recorder, beside the programs it watches, at the queue itself.
pub(super) fn recorder(layout: &Layout, nats: &str, diary: &Arc<Diary>) -> Program {
    Program::new(Spec {
        name: "recorder".to_owned(),
        program: layout.bin.join("recorder"),
        args: ["--nats".into(), nats.into(), "--out".into(), layout.evidence().into()].into(),
        env: layout.env("recorder"),
        log: layout.dir.join("recorder.log"),
        diary: Arc::clone(diary),
    })
}

/// Has the checker judge the evidence of a run that is over.
pub(super) async fn check(cluster: &Cluster, tally: &mut Tally) -> anyhow::Result<()> {
    let output = run(&cluster.layout.bin.join("checker"), &cluster.layout.evidence()).await?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        println!("{}", words.trim_end());
        return Ok(());
    }
    let violations: Vec<&str> =
        words.lines().filter(|line| line.starts_with('I')).filter(|line| !line.starts_with("ID")).collect();
    for violation in &violations {
        tally.violation(format!("checker: {violation}"));
    }
    if violations.is_empty() {
        tally.violation(format!("checker: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(())
}

async fn run(checker: &Path, evidence: &Path) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(checker);
    command.arg(evidence).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(CHECK_MAX, command.output()).await.context("the checker took too long")?;
    output.context("run the checker")
}
