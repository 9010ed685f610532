#![expect(clippy::disallowed_methods, reason = "tests play the writers that are not durable")]

use std::{fs, path::Path};

use tempfile::{TempDir, tempdir};

use super::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

/// With a log of its own and time enough.
fn watched(dir: &TempDir) -> Watch {
    let (stderr, kin) = (dir.path().join("stderr.log"), Kin::default());
    Watch { stderr, deadline: Some(LONG), silence: None, memory_max: None, kin, grace: LONG }
}

fn sh(dir: &TempDir, script: &str) -> JobSpec {
    sh_watched(dir, script, |_| ())
}

fn sh_watched(dir: &TempDir, script: &str, but: impl FnOnce(&mut Watch)) -> JobSpec {
    let mut watch = watched(dir);
    but(&mut watch);
    JobSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        dir: dir.path().to_owned(),
        env: vec![("JOB_WORD".into(), "given".into())],
        watch,
    }
}

async fn run(spec: JobSpec) -> JobEnd {
    Job::start(spec).unwrap().wait(&CancellationToken::new()).await
}

/// Waits until a file has a whole line, and answers it.
async fn line_in(path: &Path) -> String {
    let late = Instant::now() + LONG;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Some(line) = text.strip_suffix('\n') {
            return line.to_owned();
        }
        assert!(Instant::now() < late, "no line in {}, last seen {text:?}", path.display());
        sleep(Duration::from_millis(2)).await;
    }
}

/// Neither running nor waiting for anything: gone, or dead and unreaped by an init that does not care.
fn is_dead(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .is_none_or(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

#[tokio::test]
async fn an_exit_has_its_code_and_the_log_both_streams() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("stderr.log"), "earlier run\n").unwrap();
    let end = run(sh(&dir, "echo out; echo $JOB_WORD >&2; cat; exit 7")).await;
    assert_eq!(end, JobEnd::Exited { code: 7 });
    assert_eq!(fs::read_to_string(dir.path().join("stderr.log")).unwrap(), "earlier run\nout\ngiven\n");
}

#[tokio::test]
async fn a_signal_from_elsewhere_is_a_crash() {
    let dir = tempdir().unwrap();
    let end = run(sh(&dir, "kill -SEGV $$")).await;
    assert_eq!(end, JobEnd::Crashed { signal: 11 });
    assert!(end.to_string().contains("SEGV"), "{end}");
}

#[tokio::test]
async fn what_the_child_left_running_ends_with_it() {
    let dir = tempdir().unwrap();
    let end = run(sh(&dir, "trap '' TERM; sleep 1000 & echo $! > orphan; exit 3")).await;
    assert_eq!(end, JobEnd::Exited { code: 3 });
    let orphan = line_in(&dir.path().join("orphan")).await;
    assert!(is_dead(&orphan), "process {orphan} was left behind");
}

#[tokio::test]
async fn a_cancelled_child_may_tidy_up() {
    let dir = tempdir().unwrap();
    let job =
        Job::start(sh(&dir, "trap 'echo tidied > end; exit 0' TERM; echo ready > ready; while :; do sleep 0.01; done"))
            .unwrap();
    let cancel = CancellationToken::new();
    let ready = dir.path().join("ready");
    let (end, ()) = tokio::join!(job.wait(&cancel), async {
        line_in(&ready).await;
        cancel.cancel();
    });
    assert_eq!(end, JobEnd::Cancelled);
    assert_eq!(line_in(&dir.path().join("end")).await, "tidied");
}

#[tokio::test]
async fn a_family_that_ignores_term_is_killed_after_the_grace() {
    let dir = tempdir().unwrap();
    let script = "trap '' TERM; sh -c 'echo $$ > child; while :; do sleep 1; done' & echo $$ > parent; wait";
    let job = Job::start(sh_watched(&dir, script, |watch| watch.grace = SHORT)).unwrap();
    let (pid, cancel) = (job.pid(), CancellationToken::new());
    let (child, parent) = (dir.path().join("child"), dir.path().join("parent"));
    let (end, child) = tokio::join!(job.wait(&cancel), async {
        let child = line_in(&child).await;
        assert_eq!(line_in(&parent).await, pid.to_string());
        cancel.cancel();
        child
    });
    assert_eq!(end, JobEnd::Cancelled);
    assert!(is_dead(&child), "process {child} was left behind");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the child was not reaped");
}

#[tokio::test]
async fn a_deadline_ends_a_job() {
    let dir = tempdir().unwrap();
    let end = run(sh_watched(&dir, "exec sleep 1000", |watch| watch.deadline = Some(SHORT))).await;
    assert_eq!(end, JobEnd::TimedOut);
}

#[tokio::test]
async fn silence_ends_a_job() {
    let dir = tempdir().unwrap();
    let silence = Some((dir.path().join("progress"), SHORT));
    let script = "echo layer 1 > progress; exec sleep 1000";
    let end = run(sh_watched(&dir, script, |watch| watch.silence = silence)).await;
    assert_eq!(end, JobEnd::Silent);
}

#[tokio::test]
async fn who_computes_is_not_silent() {
    let dir = tempdir().unwrap();
    let silence = Some((dir.path().join("progress"), Duration::from_secs(1)));
    let deadline = Some(Duration::from_secs(4));
    let end = run(sh_watched(&dir, "while :; do :; done", |watch| {
        watch.silence = silence;
        watch.deadline = deadline;
    }))
    .await;
    assert_eq!(end, JobEnd::TimedOut);
}

#[tokio::test]
async fn an_end_before_the_cancel_counts() {
    let dir = tempdir().unwrap();
    let job = Job::start(sh(&dir, "exit 0")).unwrap();
    let proc = format!("/proc/{}/stat", job.pid());
    let late = Instant::now() + LONG;
    while !fs::read_to_string(&proc).unwrap().contains(") Z ") {
        assert!(Instant::now() < late, "the child does not end");
        sleep(Duration::from_millis(2)).await;
    }
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert_eq!(job.wait(&cancel).await, JobEnd::Exited { code: 0 });
}

#[tokio::test]
async fn a_dropped_job_leaves_nobody() {
    let dir = tempdir().unwrap();
    let job = Job::start(sh(&dir, "trap '' TERM; sleep 1000 & echo $! > child; wait")).unwrap();
    let child = line_in(&dir.path().join("child")).await;
    drop(job);
    let late = Instant::now() + LONG;
    while !is_dead(&child) {
        assert!(Instant::now() < late, "process {child} was left behind");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn many_jobs_at_once_each_learn_their_own_end() {
    let dir = tempdir().unwrap();
    let ends = (0..20).map(|code| run(sh(&dir, &format!("exit {code}"))));
    let ends = futures::future::join_all(ends).await;
    let want: Vec<_> = (0..20).map(|code| JobEnd::Exited { code }).collect();
    assert_eq!(ends, want);
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let dir = tempdir().unwrap();
    let error = Job::start(JobSpec { program: "/nowhere/prover".into(), ..sh(&dir, "") }).unwrap_err();
    assert_eq!(crate::exit::chain(&error), "start /nowhere/prover: No such file or directory (os error 2)");
}

/// A process group that nobody watches, as an agent that was killed leaves one.
fn orphan(dir: &TempDir, script: &str) -> (std::process::Child, Orphan) {
    use std::os::unix::process::CommandExt as _;
    let mut command = std::process::Command::new("/bin/sh");
    let child = command.args(["-c", script]).current_dir(dir.path()).process_group(0).spawn().unwrap();
    let orphan = Orphan { pid: child.id(), watch: watched(dir) };
    (child, orphan)
}

#[tokio::test]
async fn an_orphan_is_waited_for_and_its_status_is_not_known() {
    let dir = tempdir().unwrap();
    let (mut child, orphan) = orphan(&dir, "echo up > up; sleep 60");
    line_in(&dir.path().join("up")).await;
    let job = Job::adopt(orphan, || true).unwrap().expect("it runs");
    let cancel = CancellationToken::new();
    let waiting = job.wait(&cancel);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(SHORT, &mut waiting).await;
    assert!(early.is_err(), "ended early: {early:?}");
    child.kill().unwrap();
    assert_eq!(waiting.await, JobEnd::Lost);
    child.wait().unwrap();
}

#[tokio::test]
async fn an_orphan_is_ended_like_a_child() {
    let dir = tempdir().unwrap();
    let (mut child, mut orphan) = orphan(&dir, "sleep 60 & echo $! > grandchild; wait");
    let grandchild = line_in(&dir.path().join("grandchild")).await;
    orphan.watch.deadline = Some(SHORT);
    let job = Job::adopt(orphan, || true).unwrap().expect("it runs");
    assert_eq!(job.wait(&CancellationToken::new()).await, JobEnd::TimedOut);
    assert!(is_dead(&grandchild), "the grandchild lives");
    child.wait().unwrap();
}

#[tokio::test]
async fn a_job_that_is_left_works_on_and_can_be_adopted() {
    let dir = tempdir().unwrap();
    let job = Job::start(sh(&dir, "echo up > up; sleep 60")).unwrap().left_when_cancelled(true);
    let pid = job.pid();
    line_in(&dir.path().join("up")).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert_eq!(job.wait(&cancel).await, JobEnd::Left);
    assert!(!is_dead(&pid.to_string()), "it was ended");
    let orphan = Orphan { pid, watch: Watch { deadline: Some(SHORT), ..watched(&dir) } };
    let job = Job::adopt(orphan, || true).unwrap().expect("it runs");
    assert_eq!(job.wait(&CancellationToken::new()).await, JobEnd::TimedOut);
    assert!(is_dead(&pid.to_string()), "it lives");
}

#[tokio::test]
async fn another_process_of_the_same_number_is_not_adopted() {
    let dir = tempdir().unwrap();
    let (mut child, orphan) = orphan(&dir, "sleep 60");
    assert!(Job::adopt(orphan.clone(), || false).unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Job::adopt(orphan, || true).unwrap().is_none(), "it is gone");
}

#[tokio::test]
async fn a_daemon_that_left_the_group_ends_with_its_job() {
    let dir = tempdir().unwrap();
    let script =
        "setsid sh -c 'echo $$ > daemon; while :; do sleep 0.05; done' & while ! [ -s daemon ]; do sleep 0.01; done";
    let kin = Kin { mark: Some(dir.path().into()), cgroups: vec![] };
    assert_eq!(run(sh_watched(&dir, script, |watch| watch.kin = kin)).await, JobEnd::Exited { code: 0 });
    let daemon = line_in(&dir.path().join("daemon")).await;
    assert!(is_dead(&daemon), "process {daemon} was left behind");
}

#[tokio::test]
async fn whoever_holds_more_than_it_may_is_out_of_memory() {
    let dir = tempdir().unwrap();
    let script = "(head -c 100000000 /dev/zero; sleep 1000) | tail -n 1";
    let end = run(sh_watched(&dir, script, |watch| watch.memory_max = Some(32 << 20))).await;
    assert_eq!(end, JobEnd::OutOfMemory);
}
