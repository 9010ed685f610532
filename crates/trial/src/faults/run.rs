//! One run: a cluster, a plan, a verdict; then the small cluster with real proofs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use host::exit::{CliError, Exit};
use tokio_util::sync::CancellationToken;

use super::{
    RunArgs,
    cluster::Cluster,
    inject::SMALL,
    kind::Kind,
    lanes::Lanes,
    layout::{Layout, Pace},
    leftovers,
    load::Load,
    plan::{Wanted, is_on_the_road, is_reachable, plan},
    points,
    small::Small,
    tally::Tally,
    verdict,
};

/// Stages of the fake prover take so long.
const STAGE: Duration = Duration::from_millis(300);
/// The least that the coordinator takes.
const ACK_WAIT: Duration = Duration::from_secs(4);
const RECONCILE: Duration = Duration::from_secs(1);
/// Real proofs need time within a window.
const REAL_EPOCH: Duration = Duration::from_millis(1_000);
/// A whole run that injects less has not shown enough.
const FAULTS_MIN: usize = 200;
const KINDS_MIN: usize = 16;
/// The file that marks a folder as one that this suite made and may empty.
const MARK: &str = ".sealstream-trial";

/// `faults run`.
pub(super) async fn run(args: RunArgs) -> Result<(), CliError> {
    let tally = Box::pin(tally(&args)).await?;
    let dir = folder(&args);
    println!("{}", tally.render());
    end(&args, &dir, &tally, "run")?;
    let (faults, kinds) = (tally.injected(), tally.kinds());
    if args.is_whole() && (faults < FAULTS_MIN || kinds < KINDS_MIN) {
        let wanted = format!("{FAULTS_MIN} faults of {KINDS_MIN} kinds are wanted");
        return Err(CliError::new(
            Exit::Failure,
            format!("{faults} faults of {kinds} kinds show too little: {wanted}"),
        ));
    }
    Ok(())
}

/// `faults failpoints`: every one must be reached.
pub(super) async fn failpoints(args: RunArgs) -> Result<(), CliError> {
    let args = RunArgs { percent: 0, real: 0, no_failpoints: false, ..args };
    let tally = Box::pin(tally(&args)).await?;
    let dir = folder(&args);
    println!("{}", tally.render());
    end(&args, &dir, &tally, "failpoints")?;
    let missing = tally.not_reached();
    if missing.is_empty() {
        return Ok(());
    }
    Err(CliError::new(Exit::Failure, format!("failpoints that were not reached: {}", missing.join(", "))))
}

/// Runs both clusters, and counts.
pub(super) async fn tally(args: &RunArgs) -> Result<Tally, CliError> {
    let dir = folder(args);
    prepare(&dir)?;
    let began = Instant::now();
    let mut tally = Box::pin(fakes(args, &dir.join("fake"), began)).await?;
    if args.real > 0 {
        tally.add(Box::pin(reals(args, &dir.join("real"), began)).await?);
    }
    Ok(tally)
}

fn folder(args: &RunArgs) -> PathBuf {
    args.dir.clone().unwrap_or_else(|| Path::new("target/trial").join(args.seed.to_string()))
}

/// Makes the folder, or empties the one a former run made.
pub(super) fn prepare(dir: &Path) -> Result<(), CliError> {
    let shown = dir.display();
    if dir.exists() {
        if !dir.join(MARK).exists() {
            return Err(CliError::new(Exit::Usage, format!("{shown} exists and was not made by this suite")));
        }
        // A run that was killed leaves its small store mounted.
        Small::unmount(&dir.join("fake").join("stores").join(format!("{SMALL}-local")));
        host::durable::remove_dir_all(dir).with_context(|| format!("empty {shown}"))?;
    }
    host::durable::create_dir_all(dir).with_context(|| format!("create {shown}"))?;
    host::durable::write(&dir.join(MARK), b"made by the fault suite\n").with_context(|| format!("mark {shown}"))?;
    Ok(())
}

/// Keeps what explains a failure, and says how to have it again.
fn end(args: &RunArgs, dir: &Path, tally: &Tally, command: &str) -> Result<(), CliError> {
    if tally.is_clean() {
        if let Some(file) = &args.counts {
            points::count(file, tally.failpoints())?;
        }
        if !args.keep {
            host::durable::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        return Ok(());
    }
    let again = format!("again: target/debug/faults {command} --seed {} --percent {}", args.seed, args.percent);
    Err(CliError::new(Exit::Failure, format!("logs and evidence are in {}", dir.display())).hint(again))
}

fn pace(args: &RunArgs) -> Pace {
    Pace { epoch: args.epoch, ack_wait: Some(ACK_WAIT), reconcile: Some(RECONCILE), stage: STAGE }
}

/// A name that no other run of this machine has.
pub(super) fn mark(seed: u64) -> String {
    format!("{seed}-{}", std::process::id())
}

async fn fakes(args: &RunArgs, dir: &Path, began: Instant) -> Result<Tally, CliError> {
    let mark = mark(args.seed);
    let dir = absolute(dir)?;
    let layout = Layout::new(&dir, pace(args), &mark, false)?;
    let small = layout.small_store()?;
    let mut without = Vec::new();
    if small.is_none() {
        println!("no file system can be mounted by this user: stores are not filled");
        without.push(Kind::StoreFull);
    }
    let mut failpoints = if args.no_failpoints { Vec::new() } else { points::all()? };
    // A rebuild for each of its failpoints takes minutes: they have a command of their own.
    failpoints.retain(|name| if args.percent == 0 { is_reachable(name) } else { is_on_the_road(name) });
    let wanted = Wanted {
        seed: args.seed,
        percent: args.percent,
        without,
        only: Kind::ALL.into_iter().filter(|kind| args.only.contains(&kind.number())).collect(),
        failpoints: failpoints.into_iter().filter(|name| name.starts_with(&args.points)).collect(),
    };
    let plan = plan(&wanted);
    let planned: usize = plan.values().map(Vec::len).sum();
    let cluster = Box::pin(Cluster::start(layout)).await?;
    let lanes = Lanes {
        cluster: Arc::clone(&cluster),
        seed: args.seed,
        began,
        limit: args.limit,
        least: if args.is_whole() { FAULTS_MIN } else { 0 },
        // Among other faults one that is not reached is no loss; where failpoints are all that is wanted it is.
        failpoint_tries: if args.percent == 0 { 2 } else { 1 },
        tally: std::sync::Mutex::default(),
    };
    lanes.say(&format!("seed {}: {planned} faults for miner {}", args.seed, cluster.miner));
    let (load, stop) = (Load::default(), CancellationToken::new());
    let faults = async {
        Box::pin(lanes.run(plan)).await;
        stop.cancel();
    };
    tokio::join!(load.run(&cluster, args.in_flight, &stop), faults);
    lanes.say("no more faults: every sector must come to its end");
    Box::pin(verdict::judge(&lanes, &load, &mark)).await?;
    drop(small);
    Ok(lanes.tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Few sectors, real proofs, and the kills that a long proof is most exposed to.
async fn reals(args: &RunArgs, dir: &Path, began: Instant) -> Result<Tally, CliError> {
    let mark = format!("{}-real", mark(args.seed));
    let dir = absolute(dir)?;
    let layout = Layout::new(&dir, Pace { epoch: REAL_EPOCH, ..pace(args) }, &mark, true)?;
    // Here, since few messages leave time for three copies of each.
    let layout = Layout { servers: 3, ..layout };
    let cluster = Box::pin(Cluster::start(layout)).await?;
    let limit = args.limit.saturating_mul(2);
    let lanes = Lanes {
        cluster: Arc::clone(&cluster),
        seed: args.seed,
        began,
        limit,
        least: 0,
        failpoint_tries: 1,
        tally: std::sync::Mutex::default(),
    };
    lanes.say(&format!("{} sectors with real proofs for miner {}", args.real, cluster.miner));
    let load = Load::default();
    load.submit_once(&cluster, args.real).await?;
    Box::pin(lanes.during_proofs()).await;
    Box::pin(verdict::judge(&lanes, &load, &mark)).await?;
    Ok(lanes.tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn absolute(dir: &Path) -> anyhow::Result<PathBuf> {
    host::durable::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    dir.canonicalize().with_context(|| format!("resolve {}", dir.display()))
}

/// After a run: nothing of it is left.
pub(super) async fn nothing_left(tally: &mut Tally, mark: &str) {
    for left in leftovers::processes(mark).await {
        tally.violation(format!("a process was left: {left}"));
    }
    leftovers::kill(mark);
}
