//! Processes and mounts that a run left behind.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::layout::MARK;

/// Provers end by themselves a moment after their agents.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Every process of a run that is still there a while after its end.
pub(super) async fn processes(mark: &str) -> Vec<String> {
    let began = Instant::now();
    loop {
        let left = marked(mark);
        if left.is_empty() || began.elapsed() > GONE_WITHIN {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Kills what a run left, so that the next one is not disturbed.
pub(super) fn kill(mark: &str) {
    for pid in pids(mark) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended meanwhile.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn marked(mark: &str) -> Vec<String> {
    pids(mark)
        .into_iter()
        .map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("{pid} {}", String::from_utf8_lossy(&line).replace('\0', " ").trim())
        })
        .collect()
}

fn pids(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let all = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|pid| has_variable(&Path::new("/proc").join(pid.to_string()), &wanted)).collect()
}

fn has_variable(process: &Path, wanted: &str) -> bool {
    let environment = std::fs::read(process.join("environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_marked_process_is_found_and_can_be_killed() {
        let mark = format!("test-{}", std::process::id());
        let mut child = std::process::Command::new("sleep").arg("60").env(MARK, &mark).spawn().unwrap();
        let found = || pids(&mark).contains(&child.id());
        let began = Instant::now();
        while !found() {
            assert!(began.elapsed() < GONE_WITHIN, "its environment never showed");
        }
        kill(&mark);
        child.wait().unwrap();
        assert_eq!(processes(&mark).await, Vec::<String>::new());
    }
}
