//! Every end of a prover, with a real process that brings it about: each has its own name, comes within its limit, and
//! leaves nobody.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use streams::{
    id::Timestamp,
    message::{Failure, FailureClass},
    proof::SealProof,
    records::JobNow,
    stage::Stage,
};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::{
    board::Board,
    job_dir::{AgentDir, Owner},
    machine::{activity::Activity, confine::Confinement, seats::Seats},
    order::Order,
    process::ProcessId,
    sample,
};

const LONG: Duration = Duration::from_secs(300);
const SHORT: Duration = Duration::from_millis(300);
/// Less than any limit but the short ones, more than a busy machine takes to run a shell.
const AT_ONCE: Duration = Duration::from_secs(30);

const LENIENT: Terms = Terms {
    time_limit: LONG,
    silence_limit: Some(LONG),
    memory_max: None,
    env: Vec::new(),
    confinement: Confinement { parent: None, cpus: Vec::new(), node: None, memory_max: None },
};

/// A home with one job, and a program that plays the prover.
struct Bench {
    home: TempDir,
    dir: JobDir,
    order: Order,
    board: Board,
    prover: Prover,
}

impl Bench {
    fn new(script: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let agent = AgentDir::new(home.path(), &"a".parse().unwrap());
        agent.create().unwrap();
        let order = sample::order(Stage::TreeD);
        let owner = Owner {
            agent: "a".parse().unwrap(),
            process: ProcessId::current().unwrap(),
            what: order.shown(),
            attempt: 1,
            started_at: Timestamp(1),
        };
        let dir = agent.new_job(Uuid::new_v4(), &owner, &order).unwrap();
        let program = home.path().join("prover");
        durable::write(&program, format!("#!/bin/sh\ncd \"$1\"\n{script}\n").as_bytes()).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let prover = Prover { program, agent: "/nowhere/sealer-agent".into(), grace: SHORT, leaves: false };
        Self { home, dir, order, board: Board::new(), prover }
    }

    /// Something to copy as a result.
    fn offers(&self, name: &str, result: &JobResult) {
        durable::write(&self.dir.path().join(name), &encode(result).unwrap()).unwrap();
    }

    async fn run(&self, terms: &Terms, stop: &CancellationToken) -> Result<Output, Halt> {
        let job = JobNow::begun(self.order.shown(), 1, Timestamp(1), String::new());
        let posted = self.board.begin(self.dir.id(), job);
        let work = prover::job::Work::TreeD { staged: None, cache: self.home.path().join("cache") };
        let request = Request { proof: SealProof::Drg2KiBV1_1, work };
        let seat = Seats::unlimited().take_anyway(Activity::Stage(Stage::TreeD), None);
        self.prover
            .run(
                &AtWork {
                    dir: &self.dir,
                    posted: &posted,
                    terms,
                    seat: &seat,
                    started_at: Timestamp(1),
                    stop,
                    leaves: false,
                    gate: &Gate::default(),
                    subject: "seal.c2-gpu.any.f01000.1.c2",
                },
                &request,
            )
            .await
    }

    /// Processes that carry the job's mark or work in its directory.
    fn left(&self) -> Vec<String> {
        let job = self.dir.path().display().to_string();
        let of_process = |pid: &str| -> Option<String> {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let marked = String::from_utf8_lossy(&read("environ")).contains(&job);
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            (marked || line.contains(&job)).then(|| format!("{pid} {line}"))
        };
        let pids = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
        pids.filter_map(|pid| of_process(pid.to_str().filter(|pid| pid.parse::<u32>().is_ok())?)).collect()
    }
}

fn done() -> JobResult {
    JobResult::Done { output: Output::Finalize {}, work_ms: 1 }
}

/// How one case is to end.
enum Ends {
    Done,
    Failed(&'static str, FailureClass),
}

struct Case {
    what: &'static str,
    script: &'static str,
    terms: Terms,
    ends: Ends,
}

fn cases() -> Vec<Case> {
    use Ends::{Done, Failed};
    use FailureClass::{Abort, RetryElsewhere, RetryHere};
    let case = |what, script, terms, ends| Case { what, script, terms, ends };
    let brief = Terms { time_limit: SHORT, ..LENIENT };
    let quiet = Terms { silence_limit: Some(SHORT), ..LENIENT };
    let lean = Terms { memory_max: Some(64 << 20), ..LENIENT };
    vec![
        case("works", "cp done result.json", LENIENT, Done),
        case("refuses", "cp refused result.json", LENIENT, Failed("bad-input", Abort)),
        case("crashes", "kill -SEGV $$", LENIENT, Failed("crashed", RetryHere)),
        case("exits with an odd code and nothing else", "exit 77", LENIENT, Failed("no-result", RetryHere)),
        case(
            "exits with garbage",
            "printf '{\"v\":1,\"is\":\"do' > result.json",
            LENIENT,
            Failed("unreadable-result", RetryElsewhere),
        ),
        case(
            "ignores TERM beyond its time",
            "trap '' TERM; while :; do sleep 0.05; done",
            brief.clone(),
            Failed("timed-out", RetryElsewhere),
        ),
        case(
            "forks and goes beyond its time",
            "trap '' TERM; sleep 1000 & (sleep 1000 & wait) & wait",
            brief.clone(),
            Failed("timed-out", RetryElsewhere),
        ),
        case(
            "leaves a daemon in a session of its own",
            "setsid sh -c 'trap \"\" TERM; echo up > up; while :; do sleep 0.05; done' < /dev/null > /dev/null 2>&1 &
             while ! [ -s up ]; do sleep 0.01; done; cp done result.json",
            LENIENT,
            Done,
        ),
        case(
            "eats memory",
            "(head -c 200000000 /dev/zero; sleep 1000) | tail -n 1",
            lean,
            Failed("out-of-memory", RetryElsewhere),
        ),
        case("floods stdout and works", "head -c 60000000 /dev/zero; cp done result.json", LENIENT, Done),
        case("floods stdout for ever", "exec yes", brief, Failed("timed-out", RetryElsewhere)),
        case("goes silent", "echo layer 1 > progress.json; exec sleep 1000", quiet, Failed("silent", RetryHere)),
    ]
}

#[tokio::test]
async fn every_end_has_its_name_and_leaves_nobody() {
    let refused = JobResult::Refused {
        class: FailureClass::Abort,
        code: "bad-input".to_owned(),
        message: "it makes no sense".to_owned(),
    };
    for Case { what, script, terms, ends } in cases() {
        let bench = Bench::new(script);
        bench.offers("done", &done());
        bench.offers("refused", &refused);
        let began = Instant::now();
        let ended = bench.run(&terms, &CancellationToken::new()).await;
        let took = began.elapsed();
        match (&ends, &ended) {
            (Ends::Done, Ok(Output::Finalize {})) => {}
            (Ends::Failed(code, class), Err(Halt::Failed(failure))) => {
                let Failure { class: found, code: name, message } = failure;
                assert_eq!((name.as_str(), found), (*code, class), "{what}: {message}");
            }
            _ => panic!("a prover that {what} ended with {ended:?}"),
        }
        assert!(took < AT_ONCE, "a prover that {what} took {took:?}");
        assert_eq!(bench.left(), Vec::<String>::new(), "a prover that {what} left somebody");
        let log = fs::metadata(bench.dir.path().join(STDERR)).unwrap().len();
        assert!(log < 400 << 20, "a prover that {what} left {log} bytes of log");
    }
}

#[tokio::test]
async fn a_cancelled_family_that_ignores_term_is_nobodys_failure_and_gone() {
    let bench = Bench::new(
        "trap '' TERM
         setsid sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' < /dev/null > /dev/null 2>&1 &
         sleep 1000 & echo up > up; while :; do sleep 0.05; done",
    );
    let stop = CancellationToken::new();
    let (up, began) = (bench.dir.path().join("up"), Instant::now());
    let terms = LENIENT;
    let (ended, ()) = tokio::join!(bench.run(&terms, &stop), async {
        while !up.exists() {
            assert!(began.elapsed() < AT_ONCE, "the prover does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    });
    assert_eq!(ended, Err(Halt::Interrupted));
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
    assert_eq!(bench.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stages_variables_reach_its_prover() {
    let bench = Bench::new("[ \"$RAYON_NUM_THREADS\" = 7 ] && cp done result.json");
    bench.offers("done", &done());
    let env = vec![("RAYON_NUM_THREADS".into(), "7".into())];
    assert_eq!(bench.run(&Terms { env, ..LENIENT }, &CancellationToken::new()).await, Ok(Output::Finalize {}));
}
