//! Looks through `/proc` for provers at work, from outside: what agents say of their children is not asked.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use host::clock::Clock;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Child, LineLog, RunLine};

/// Programs that are children of agents.
const PROVERS: [&str; 2] = ["prover", "fake-prover"];

/// The kernel tells times in hundredths of a second, on every machine that runs this.
const TICK_MS: u64 = 10;

/// A process by its id and the tick it was started at.
type ProcessKey = (u32, u64);

/// Provers that were seen and not yet missed.
#[derive(Debug, Default)]
pub struct Seen {
    alive: BTreeMap<ProcessKey, Child>,
}

/// Looks again and again, until told to stop, and notes who came and who went.
pub async fn watch_children(
    log: Arc<LineLog<RunLine>>,
    clock: Arc<dyn Clock>,
    home: PathBuf,
    every: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut seen = Seen::default();
    loop {
        log.note_all(&look_at_children(&mut seen, &home, clock.now_unix_ms()))?;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Looks once at provers whose job directories are below `home`, and says who came and who went since the last time.
pub fn look_at_children(seen: &mut Seen, home: &Path, at: u64) -> Vec<RunLine> {
    let mut now = BTreeMap::new();
    let up_ms = up_ms();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends while it is looked at was not seen.
        if let Some(child) = child(pid, home, at, up_ms) {
            now.insert((child.pid, child.start_ticks), child);
        }
    }
    // One that ended while another was looked at did not live beside it.
    now.retain(|&(pid, ticks), _| start_ticks(pid) == Some(ticks));
    let mut lines: Vec<_> = seen
        .alive
        .keys()
        .filter(|key| !now.contains_key(key))
        .map(|&(pid, start_ticks)| RunLine::ChildGone { at, pid, start_ticks })
        .collect();
    lines.extend(now.iter().filter(|(key, _)| !seen.alive.contains_key(key)).map(|(_, c)| RunLine::Child(c.clone())));
    seen.alive = now;
    lines
}

fn child(pid: u32, home: &Path, at: u64, up_ms: u64) -> Option<Child> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let program = words.next()?;
    PROVERS.contains(&Path::new(&program).file_name()?.to_str()?).then_some(())?;
    let job = words.find(|word| Path::new(word).starts_with(home))?;
    let owner = json(&Path::new(&job).join("owner.json"))?;
    let request = json(&Path::new(&job).join("request.json"))?;
    let what = owner.get("what")?;
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let start_ticks = start_ticks(pid)?;
    Some(Child {
        at,
        started_at: at.saturating_sub(up_ms.saturating_sub(start_ticks.saturating_mul(TICK_MS))),
        pid,
        start_ticks,
        agent: word(&owner, "agent")?,
        sector: word(what, "sector"),
        stage: word(what, "stage").or_else(|| word(what, "class"))?,
        folder: request.get("work").and_then(folder),
        job,
    })
}

/// The folder of the sector that a job changes, from the paths in its request.
fn folder(work: &Value) -> Option<String> {
    let stage = work.get("stage").and_then(Value::as_str)?;
    // These read what others made, and write beside their job.
    if ["c1", "c2", "unseal", "vanilla-post", "window-post"].contains(&stage) {
        return None;
    }
    let path = ["cache", "staged"].iter().find_map(|key| work.get(key).and_then(Value::as_str))?;
    Path::new(path).parent().map(|folder| folder.display().to_string())
}

/// Milliseconds since boot.
fn up_ms() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next().unwrap_or_default();
    let (whole, hundredths) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    number(whole).saturating_mul(1000).saturating_add(number(hundredths).saturating_mul(10))
}

/// Field 22 of `/proc/<pid>/stat`; a zombie is not at work.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        process::{Command, Stdio},
    };

    use host::durable;

    use super::*;

    #[test]
    fn a_prover_is_seen_while_it_works_and_missed_when_it_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let job = home.path().join("agents/a/jobs/1");
        durable::create_dir_all(&job).unwrap();
        let put = |name: &str, text: &str| durable::write(&job.join(name), text.as_bytes()).unwrap();
        put("owner.json", r#"{"v":1,"agent":"a","what":{"is":"sector","sector":"f01000/7","stage":"pc1"}}"#);
        put("request.json", r#"{"v":1,"work":{"stage":"pc1","staged":null,"cache":"/s/sectors/s-t01000-7/cache"}}"#);
        // A shell under the prover's name, that lives as long as its input does.
        let prover = home.path().join("prover");
        symlink("/bin/sh", &prover).unwrap();
        let mut child = Command::new(&prover).arg("-s").arg(&job).stdin(Stdio::piped()).spawn().unwrap();
        let mut seen = Seen::default();
        let mut lines = Vec::new();
        // Between fork and exec the process still has the test's own command line.
        for _ in 0..10_000 {
            lines = look_at_children(&mut seen, home.path(), 5);
            if !lines.is_empty() {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let [RunLine::Child(found)] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((found.pid, found.sector.as_deref(), found.stage.as_str()), (child.id(), Some("f01000/7"), "pc1"));
        assert_eq!(found.folder.as_deref(), Some("/s/sectors/s-t01000-7"));
        let gone = look_at_children(&mut seen, home.path(), 6);
        assert_eq!(gone, [RunLine::ChildGone { at: 6, pid: found.pid, start_ticks: found.start_ticks }]);
    }
}
