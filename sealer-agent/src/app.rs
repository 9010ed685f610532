//! Wiring: what an agent consists of, in the order in which it starts.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use host::{
    config::Live,
    durable::{self, FileLock},
    exit::{CliError, Exit},
    signal,
    tasks::Tasks,
};
use streams::{
    artifact::Artifacts,
    id::{AgentId, Place},
    kv::{Bucket, BucketName},
    nats::{Nats, NatsConfig},
    records::AgentRecord,
    stage::Class,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    adoption,
    board::Board,
    child::Prover,
    claim::{Claimant, Claims},
    config::Config,
    courier::Courier,
    duty::Keeper,
    error,
    gate::Gate,
    heartbeat::Heartbeat,
    here, inventory,
    job_dir::AgentDir,
    journal::Journal,
    layout_watch,
    leftovers::{self, Sweeper},
    machine::{self, activity::Activity, confine, seats::Seats, terms::Terms},
    names,
    now::now,
    process::ProcessId,
    queue::{self, Queue},
    reload::{self, Floor},
    runner::Runner,
    running::Running,
    said::Said,
    slots,
    stage::Tools,
    store::{
        Stores,
        health::{Health, Watch},
        registered,
    },
};

/// How long a piece's source may be silent.
const HTTP_SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long an upload may take in all: 64 GiB at 3 MiB/s. Its target says nothing until it has everything, so a limit
/// on silence would be one on the whole of it.
const HTTP_UPLOAD_MAX: Duration = Duration::from_secs(6 * 3600);
const HTTP_CONNECT_MAX: Duration = Duration::from_secs(10);
/// Beyond the children's grace: for what a slot has at hand to be put down.
const PARTING_MAX: Duration = Duration::from_secs(4);
/// Beyond the children's grace: for results, claims and tasks to be given back.
const DRAIN_MARGIN: Duration = Duration::from_secs(10);

/// What an agent needs and can be known before any connection is made.
#[derive(Debug)]
struct Plan {
    place: Place,
    agent: AgentId,
    host: String,
    dir: AgentDir,
    slots: BTreeMap<Class, u32>,
    seats: Seats,
    terms: BTreeMap<Activity, Terms>,
    stores: Stores,
    prover: Prover,
    _lock: FileLock,
}

/// What is this run's alone.
struct OfRun {
    board: Board,
    process: ProcessId,
    run: Uuid,
    stop: CancellationToken,
    gate: Gate,
    terms: watch::Receiver<BTreeMap<Activity, Terms>>,
}

/// Runs an agent until it is told to stop.
pub(crate) async fn run(home: &Path, config: Config, live: Live<Config>) -> Result<(), CliError> {
    // First of all: until then SIGHUP ends the process.
    let live = live.listen().context("listen to SIGHUP")?;
    let plan = plan(home, &config)?;
    let Plan { place, agent, .. } = &plan;
    let gate = Gate::new(plan.slots.clone());
    Keeper::restore(&plan.dir, &gate).map_err(|e| CliError::from(e.context("read what this agent was told")))?;
    let nats = connect(&config, agent).await?;
    let queue = Queue::open(&nats, &config, plan.slots.keys().copied(), place).await?;
    let tasks = Tasks::new().drain_limit(config.grace + DRAIN_MARGIN);
    let stop = tasks.token();
    watch_stores(home, &config, &plan.stores, &tasks).await;
    let mut sweeper = Sweeper::new(home, &plan.stores, queue.ack_wait());
    sweeper.sweep().map_err(|e| CliError::from(e.context("clean up after dead agents")))?;

    let process = ProcessId::current().context("read /proc")?;
    let (run, board) = (Uuid::new_v4(), Board::new());
    let heartbeat = heartbeat(&nats, &config, &plan, &board, &gate, &process, run).await?;
    let terms = watch::Sender::new(plan.terms.clone());
    let of_run = OfRun { board, process, run, stop: stop.clone(), gate: gate.clone(), terms: terms.subscribe() };
    let runner = Arc::new(runner(&nats, &plan, &queue, of_run, tools(&nats, &config, &plan).await?).await?);
    // Before anything is asked for: a task that comes back must find its job running.
    let mut left = adoption::own(&plan.dir, &runner.process, &runner.journal, &runner.running)
        .map_err(|e| CliError::from(e.context("go on with jobs of an earlier run")))?;

    tasks.spawn("heartbeat", heartbeat.run(stop.clone()));
    tasks.spawn("courier", courier(&runner).run(stop.clone()));
    tasks.spawn("leftovers", leftovers::run(sweeper, config.heartbeat, stop.clone()));
    let consumers = plan.slots.keys().flat_map(|class| queue::consumers(*class, place)).collect();
    tasks.spawn("layout watch", layout_watch::run(nats.clone(), consumers, config.heartbeat, stop.clone()));
    let keeper = keeper(&plan, &runner);
    tasks.spawn("duty", keeper.clone().run(stop.clone()));
    let desk =
        inventory::Desk { nats, agent: agent.clone(), place: place.clone(), stores: plan.stores.clone(), keeper };
    tasks.spawn("inventory", desk.run(stop.clone()));
    let mut floor = Floor {
        tasks: tasks.clone(),
        sources: queue.into_sources().into_iter().map(|sources| (sources.class, sources)).collect(),
        runner: Arc::clone(&runner),
        gate,
        seats: plan.seats.clone(),
        patience: config.grace + PARTING_MAX,
        stop: stop.clone(),
        loops: BTreeMap::new(),
    };
    for (class, slots) in &plan.slots {
        floor.fill(*class, *slots, || left.iter().position(|job| job.class() == *class).map(|at| left.swap_remove(at)));
    }
    tasks.spawn("configuration", reload::run(live, floor, terms, stop.clone()));
    // More jobs than slots, or of a class that is not served any more: they run already.
    for job in left {
        let (runner, ack_wait) = (Arc::clone(&runner), runner.ack_wait);
        tasks.spawn_once(format!("{} job of an earlier run", job.class()), async move {
            runner.adopt(job, ack_wait).await;
            Ok(())
        });
    }
    tracing::info!(%agent, %place, classes = describe(&plan.slots), "ready");
    let stopped = tasks.run_until(signal::shutdown().context("listen to signals")?).await;
    stopped.map_err(|e| CliError::from(anyhow::Error::from(e)))
}

fn keeper(plan: &Plan, runner: &Runner) -> Keeper {
    Keeper {
        dir: plan.dir.clone(),
        agent: plan.agent.clone(),
        place: plan.place.clone(),
        gate: runner.gate.clone(),
        board: runner.board.clone(),
        sectors: runner.tools.sectors.clone(),
        agents: runner.agents.clone(),
        done: Arc::default(),
        nudge: Arc::default(),
    }
}

/// Looks at every store, now and from now on. Nothing waits for one that does not answer.
async fn watch_stores(home: &Path, config: &Config, stores: &Stores, tasks: &Tasks) {
    let mut watched = Vec::new();
    let of = |store, path: &Path, persistent| Watch {
        health: stores.health.clone(),
        home: home.to_owned(),
        store,
        path: path.to_owned(),
        persistent,
        keep_free: config.keep_free_bytes,
        every: config.heartbeat,
    };
    let local = stores.local.iter().map(|store| of(store.id, &store.path, false));
    let kept = stores.persistent.iter().map(|store| of(store.id, &store.path, true));
    for watch in local.chain(kept) {
        watched.push(watch.store);
        tasks.spawn(format!("watch of {}", watch.path.display()), watch.run(tasks.token()));
    }
    stores.health.looked_at(&watched).await;
}

async fn heartbeat(
    nats: &Nats,
    config: &Config,
    plan: &Plan,
    board: &Board,
    gate: &Gate,
    process: &ProcessId,
    run: Uuid,
) -> Result<Heartbeat, CliError> {
    let who = AgentRecord {
        agent: plan.agent.clone(),
        place: plan.place.clone(),
        host: plan.host.clone(),
        pid: process.pid,
        run,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: now(),
        at: now(),
        classes: Vec::new(),
        jobs: Vec::new(),
        duty: gate.held(),
    };
    Ok(Heartbeat {
        agents: Bucket::open(nats, BucketName::Agents).await.map_err(error::queue)?,
        stores_bucket: Bucket::open(nats, BucketName::Stores).await.map_err(error::queue)?,
        who,
        gate: gate.clone(),
        stores: plan.stores.clone(),
        board: board.clone(),
        every: config.heartbeat,
    })
}

async fn runner(nats: &Nats, plan: &Plan, queue: &Queue, of_run: OfRun, tools: Tools) -> Result<Runner, CliError> {
    let OfRun { board, process, run, stop, gate, terms } = of_run;
    let journal = Journal::open(plan.dir.results(), nats.clone(), tools.sectors.clone());
    Ok(Runner {
        claims: Claims::new(queue.claims(), Claimant { agent: plan.agent.clone(), run }),
        agents: Bucket::open(nats, BucketName::Agents).await.map_err(error::queue)?,
        board,
        journal: journal.context("open the journal")?,
        offered: Arc::default(),
        running: Running::default(),
        seats: plan.seats.clone(),
        dir: plan.dir.clone(),
        process,
        gate,
        terms,
        said: Said::default(),
        ack_wait: queue.ack_wait(),
        stop,
        tools,
    })
}

fn courier(runner: &Runner) -> Courier {
    Courier {
        journal: runner.journal.clone(),
        claims: runner.claims.clone(),
        sectors: runner.tools.sectors.clone(),
        place: runner.tools.place.clone(),
        offered: Arc::clone(&runner.offered),
        stale_after: runner.ack_wait,
        said: Said::default(),
    }
}

fn plan(home: &Path, config: &Config) -> Result<Plan, CliError> {
    let host = machine::hostname().context("read the host's name")?;
    let place = here::place(config, &host)?;
    let found = machine::discover();
    let means = machine::means(config, &found);
    let terms = Terms::by_activity(config, &found)?;
    config.machine.cgroup.as_deref().map_or(Ok(()), confine::check)?;
    let sectors = config.machine.sector_size.map(|size| size.0);
    let slots = slots::slots(&config.serve, &config.configured_slots(), means, sectors, config.allow_cpu)?;
    let seats = Seats::new(config, means, &found.gpus, &slots);
    let stores = open_stores(home, config, &slots)?;
    let program = here::prover(config)?;
    let (agent, dir, lock) = take_name(home, config, &place)?;
    let own = std::env::current_exe().context("find this program")?;
    let prover = Prover { program, agent: own, grace: config.grace, leaves: config.leave_provers };
    Ok(Plan { place, agent, host, dir, slots, seats, terms, stores, prover, _lock: lock })
}

/// Free classes work on no store and open none: a disk that is away is nothing to them.
fn open_stores(home: &Path, config: &Config, slots: &BTreeMap<Class, u32>) -> Result<Stores, CliError> {
    let Some(bound) = slots.keys().find(|class| class.has_bound_tasks()) else { return Ok(Stores::default()) };
    let listed = registered::note_identities(home)?;
    let entries = if config.stores.is_empty() {
        listed
    } else {
        let named = |path: &PathBuf| {
            // As `store init` lists them.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let known = listed.iter().find(|entry| entry.path == path).cloned();
            known.unwrap_or_else(|| registered::Entry { path, ..registered::Entry::default() })
        };
        config.stores.iter().map(named).collect()
    };
    let stores = Stores::open(&entries, Health::new(config.store.hang_after))?;
    let seals = slots.keys().find(|class| matches!(class, Class::Pc1Cpu | Class::Pc2Gpu));
    let lacking = match seals {
        Some(class) if stores.local.is_empty() => Some((class, "no local store", "PATH")),
        _ if stores.is_empty() => Some((bound, "no store", "[--persistent] PATH")),
        _ => None,
    };
    if let Some((class, what, how)) = lacking {
        return Err(CliError::new(Exit::Config, format!("class {class} works on files, and this host has {what}"))
            .hint(format!("make one: `sealer-agent store init {how}`")));
    }
    if stores.persistent.is_empty() && seals.is_some() {
        tracing::warn!(
            "no persistent store: sectors sealed here cannot be kept (`sealer-agent store init --persistent PATH`)"
        );
    }
    Ok(stores)
}

/// The agent's name and its folder, locked: two agents of one name would take over each other's work.
fn take_name(home: &Path, config: &Config, place: &Place) -> Result<(AgentId, AgentDir, FileLock), CliError> {
    if let Some(name) = &config.name {
        return match lock_name(home, name)? {
            Some((dir, lock)) => Ok((name.clone(), dir, lock)),
            None => Err(CliError::new(Exit::Busy, format!("agent {name} is running on this host already"))
                .hint("give this one another name: --name NAME")),
        };
    }
    let class = config.serve.first().copied().unwrap_or(Class::Io);
    for name in (1..=names::SUFFIX_MAX).filter_map(|which| names::agent(place, class, which)) {
        if let Some((dir, lock)) = lock_name(home, &name)? {
            return Ok((name, dir, lock));
        }
    }
    Err(CliError::new(Exit::Busy, format!("{} agents for {class} run on this host already", names::SUFFIX_MAX))
        .hint("give this one a name of its own: --name NAME"))
}

fn lock_name(home: &Path, name: &AgentId) -> Result<Option<(AgentDir, FileLock)>, CliError> {
    let dir = AgentDir::new(home, name);
    let failed = |error: io::Error| CliError::new(Exit::Io, format!("prepare the folder of agent {name}: {error}"));
    dir.create().map_err(failed)?;
    match durable::lock_exclusive(&dir.lock()) {
        Ok(lock) => Ok(Some((dir, lock))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

async fn connect(config: &Config, agent: &AgentId) -> Result<Nats, CliError> {
    let nats = NatsConfig {
        url: config.nats.url.clone(),
        name: format!("sealer-agent {agent}"),
        connect_timeout: config.nats.connect_timeout,
    };
    Nats::connect(&nats).await.map_err(error::queue)
}

async fn tools(nats: &Nats, config: &Config, plan: &Plan) -> Result<Tools, CliError> {
    let http = || reqwest::Client::builder().connect_timeout(HTTP_CONNECT_MAX);
    let downloads = http().read_timeout(HTTP_SILENCE_MAX).build().context("set up HTTP")?;
    let uploads = http().timeout(HTTP_UPLOAD_MAX).build().context("set up HTTP")?;
    Ok(Tools {
        agent: plan.agent.clone(),
        place: plan.place.clone(),
        nats: nats.clone(),
        sectors: Bucket::open(nats, BucketName::Sectors).await.map_err(error::queue)?,
        locks: Bucket::open(nats, BucketName::Locks).await.map_err(error::queue)?,
        artifacts: Artifacts::open(nats).await.map_err(error::queue)?,
        stores: plan.stores.clone(),
        prover: plan.prover.clone(),
        downloads,
        uploads,
        keep_free: config.keep_free_bytes,
    })
}

fn describe(slots: &BTreeMap<Class, u32>) -> String {
    let classes: Vec<String> = slots.iter().map(|(class, slots)| format!("{class}:{slots}")).collect();
    classes.join(" ")
}
