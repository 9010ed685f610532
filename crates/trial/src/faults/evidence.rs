//! What a run leaves for the checker, and the checker's word on it: programs of their own, so that nothing of the
//! suite can colour them.

use std::{
    collections::HashMap,
    path::Path,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use host::clock::SystemClock;
use tokio_util::sync::CancellationToken;

use super::{
    cluster::Cluster,
    diary::Diary,
    layout::Layout,
    program::{Program, Spec},
    tally::Tally,
};
use crate::evidence::{QUEUE, StoreFolder, collect, watch_children};

/// What the checker may take for a run of ten minutes.
const CHECK_MAX: Duration = Duration::from_secs(180);
/// How often provers are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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

/// Notes which provers are at work, until the cluster stops.
pub(super) async fn watch_provers(layout: Layout, diary: Arc<Diary>) {
    let home = layout.dir.join("home");
    let watched = watch_children(diary.log(), Arc::new(SystemClock), home, LOOK_EVERY, CancellationToken::new());
    if let Err(error) = watched.await {
        tracing::error!("watch provers: {error:#}");
    }
}

/// Streams of which every message has to be in the evidence before they are wiped.
const WHOLE: [&str; 4] = ["KV_SECTORS", "KV_NUMBERS", "KV_MESSAGES", "EVENTS"];
const CAUGHT_UP_MAX: Duration = Duration::from_secs(15);

/// Waits until the recorder has written down everything that is in the queue; nobody may write meanwhile.
pub(super) async fn caught_up(cluster: &Cluster) -> anyhow::Result<()> {
    let wait = async {
        loop {
            let mut behind = Vec::new();
            let recorded = recorded(&cluster.layout.evidence().join(QUEUE))?;
            for name in WHOLE {
                let stream = cluster.nats.jetstream().get_stream(name).await?;
                let (last, is) = (stream.cached_info().state.last_sequence, recorded.get(name).copied().unwrap_or(0));
                if is < last {
                    behind.push(format!("{name} at {is} of {last}"));
                }
            }
            if behind.is_empty() {
                return anyhow::Ok(());
            }
            tracing::debug!("the recorder is behind: {}", behind.join(", "));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(CAUGHT_UP_MAX, wait).await.context("the recorder did not catch up")?
}

/// The last sequence of each stream that is written down, of its present life.
fn recorded(queue: &Path) -> anyhow::Result<HashMap<String, u64>> {
    let text = std::fs::read_to_string(queue).with_context(|| format!("read {}", queue.display()))?;
    let mut last = HashMap::new();
    for line in text.lines() {
        // The last line may be half written.
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let number = |name: &str| line.get(name).and_then(serde_json::Value::as_u64);
        let Some(stream) = line.get("stream").and_then(|stream| stream.as_str()) else { continue };
        let at = match line.get("is").and_then(|is| is.as_str()) {
            Some("begins") => Some(0),
            Some("stored") => number("seq"),
            Some("missed") => number("to"),
            _ => None,
        };
        last.extend(at.map(|at| (stream.to_owned(), at)));
    }
    Ok(last)
}

/// Has the checker judge the evidence of a run that is over.
pub(super) async fn check(cluster: &Cluster, tally: &mut Tally) -> anyhow::Result<()> {
    let layout = &cluster.layout;
    let folders: Vec<StoreFolder> = ["east", "west"]
        .into_iter()
        .flat_map(|place| ["local", "persistent"].map(|kind| (place, kind)))
        .map(|(place, kind)| StoreFolder { path: layout.store(place, kind), place: place.to_owned() })
        .collect();
    collect(&layout.evidence(), &folders, &SystemClock).context("look at the stores")?;
    let output = run(&layout.bin.join("checker"), &layout.evidence()).await?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some(summary) = words.lines().last() {
        println!("{summary}");
    }
    if output.status.success() {
        return Ok(());
    }
    let is_violation = |line: &&str| line.starts_with('I') && !line.starts_with("ID");
    let violations: Vec<&str> = words.lines().filter(is_violation).collect();
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
