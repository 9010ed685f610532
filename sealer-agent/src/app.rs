//! Wiring: what an agent consists of, in the order in which it starts.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use host::{
    durable::{self, FileLock},
    exit::{CliError, Exit},
    signal,
    tasks::Tasks,
};
use streams::{
    artifact::Artifacts,
    error::QueueError,
    id::{AgentId, Place},
    kv::{Bucket, BucketName},
    layout,
    nats::{Nats, NatsConfig},
    pull::Puller,
    records::AgentRecord,
    stage::Class,
    subject::Whither,
};
use uuid::Uuid;

use crate::{
    board::Board,
    child::Prover,
    claim::{Claimant, Claims},
    config::Config,
    error,
    heartbeat::Heartbeat,
    intake::{self, Sources},
    job_dir::AgentDir,
    journal::Journal,
    leftovers, machine, names,
    now::now,
    process::ProcessId,
    runner::Runner,
    said::Said,
    slots,
    stage::Tools,
    store::{Stores, registered},
};

/// How long a piece's source may be silent.
const HTTP_SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long an upload may take in all: 64 GiB at 3 MiB/s. Its target says nothing until it has everything, so a limit
/// on silence would be one on the whole of it.
const HTTP_UPLOAD_MAX: Duration = Duration::from_secs(6 * 3600);
const HTTP_CONNECT_MAX: Duration = Duration::from_secs(10);
const LAYOUT_LOOK_EVERY: Duration = Duration::from_millis(500);
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
    stores: Stores,
    prover: Prover,
    _lock: FileLock,
}

/// Runs an agent until it is told to stop.
pub(crate) async fn run(home: &Path, config: Config) -> Result<(), CliError> {
    let plan = plan(home, &config)?;
    let Plan { place, agent, .. } = &plan;
    let nats = connect(&config, agent).await?;
    leftovers::sweep(home, &plan.stores).map_err(|e| CliError::from(e.context("clean up after dead agents")))?;
    let queue = Queue::open(&nats, &config, &plan).await?;

    let tasks = Tasks::new().drain_limit(config.grace + DRAIN_MARGIN);
    let stop = tasks.token();
    let process = ProcessId::current().context("read /proc")?;
    let (run, board) = (Uuid::new_v4(), Board::new());
    let who = AgentRecord {
        agent: agent.clone(),
        place: place.clone(),
        host: plan.host.clone(),
        pid: process.pid,
        run,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: now(),
        at: now(),
        classes: Vec::new(),
        jobs: Vec::new(),
    };
    let heartbeat = Heartbeat {
        agents: Bucket::open(&nats, BucketName::Agents).await.map_err(error::queue)?,
        stores_bucket: Bucket::open(&nats, BucketName::Stores).await.map_err(error::queue)?,
        who,
        slots: plan.slots.clone(),
        stores: plan.stores.clone(),
        board: board.clone(),
        every: config.heartbeat,
    };
    let journal = Journal::new(plan.dir.results(), nats.clone());
    let runner = Arc::new(Runner {
        tools: tools(&nats, &config, &plan).await?,
        claims: Claims::new(queue.claims, Claimant { agent: agent.clone(), run }),
        board,
        journal: journal.clone(),
        dir: plan.dir.clone(),
        process,
        limits: plan.slots.keys().map(|class| (*class, config.time_limit(*class))).collect(),
        said: Said::default(),
        stop: stop.clone(),
    });

    tasks.spawn("heartbeat", heartbeat.run(stop.clone()));
    tasks.spawn_once("earlier results", deliver_left(journal, stop.clone()));
    tasks.spawn("leftovers", leftovers::run(home.to_owned(), plan.stores.clone(), config.heartbeat, stop.clone()));
    for sources in queue.sources {
        for slot in 1..=plan.slots.get(&sources.class).copied().unwrap_or(1) {
            let name = format!("{} slot {slot}", sources.class);
            tasks.spawn(name, intake::serve(sources.clone(), Arc::clone(&runner), stop.clone()));
        }
    }
    tracing::info!(%agent, %place, classes = describe(&plan.slots), "ready");
    let stopped = tasks.run_until(signal::shutdown().context("listen to signals")?).await;
    stopped.map_err(|e| CliError::from(anyhow::Error::from(e)))
}

fn plan(home: &Path, config: &Config) -> Result<Plan, CliError> {
    let host = machine::hostname().context("read the host's name")?;
    let place = match &config.place {
        Some(place) => place.clone(),
        None => names::place(&host).ok_or_else(|| {
            CliError::new(Exit::Config, format!("host name \"{host}\" cannot be a place"))
                .hint("name the place: --place NAME, or `place = \"NAME\"` in agent.toml")
        })?,
    };
    let slots = slots::slots(&config.serve, &config.configured_slots(), machine::discover(), config.allow_cpu)?;
    let stores = open_stores(home, config, &slots)?;
    let program = prover_program(config)?;
    let (agent, dir, lock) = take_name(home, config, &place)?;
    let prover = Prover { program, grace: config.grace };
    Ok(Plan { place, agent, host, dir, slots, stores, prover, _lock: lock })
}

/// Free classes work on no store and open none: a disk that is away is nothing to them.
fn open_stores(home: &Path, config: &Config, slots: &BTreeMap<Class, u32>) -> Result<Stores, CliError> {
    let Some(bound) = slots.keys().find(|class| class.has_bound_tasks()) else { return Ok(Stores::default()) };
    let listed = registered::read(home)?;
    let entries = if config.stores.is_empty() {
        listed
    } else {
        let named = |path: &PathBuf| {
            let known = listed.iter().find(|entry| entry.path == *path).cloned();
            known.unwrap_or_else(|| registered::Entry { path: path.clone(), persistent: false })
        };
        config.stores.iter().map(named).collect()
    };
    let stores = Stores::open(&entries)?;
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

fn prover_program(config: &Config) -> Result<PathBuf, CliError> {
    let program = match &config.prover {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("find this program")?.with_file_name("prover"),
    };
    if !program.is_file() {
        return Err(CliError::new(Exit::NotFound, format!("prover {} does not exist", program.display()))
            .hint("install it beside sealer-agent, or set `prover = \"PATH\"` in agent.toml"));
    }
    Ok(program)
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

/// What an agent takes its work from.
struct Queue {
    claims: Bucket<streams::records::Claim>,
    sources: Vec<Sources>,
}

impl Queue {
    /// Opens it; waits a while for the coordinator to lay it out.
    async fn open(nats: &Nats, config: &Config, plan: &Plan) -> Result<Self, CliError> {
        let began = Instant::now();
        let mut told = false;
        loop {
            match Self::try_open(nats, plan).await {
                Ok(queue) => return Ok(queue),
                Err(error @ QueueError::Missing { .. }) if began.elapsed() < config.nats.layout_wait => {
                    if !told {
                        tracing::info!("{error}: waiting for a coordinator to lay out the queue");
                        told = true;
                    }
                    tokio::time::sleep(LAYOUT_LOOK_EVERY).await;
                }
                Err(error) => return Err(error::queue(error)),
            }
        }
    }

    async fn try_open(nats: &Nats, plan: &Plan) -> Result<Self, QueueError> {
        let claims = Bucket::open(nats, BucketName::Claims).await?;
        let mut sources = Vec::new();
        for class in plan.slots.keys().copied() {
            let mut pullers = Vec::new();
            if class.has_bound_tasks() {
                pullers.push(open_bound(nats, class, &plan.place).await?);
            }
            if class.has_free_tasks() {
                pullers.push(Puller::open(nats, class, &Whither::Any).await?);
            }
            sources.push(Sources { class, pullers });
        }
        Ok(Self { claims, sources })
    }
}

/// The consumer of a class at this place. Who comes first makes it, with the `ack_wait` the coordinator chose for the
/// consumers that it made.
async fn open_bound(nats: &Nats, class: Class, place: &Place) -> Result<Puller, QueueError> {
    let here = Whither::At(place.clone());
    match Puller::open(nats, class, &here).await {
        Err(QueueError::Missing { .. }) => {
            let ack_wait = Puller::open(nats, Class::C2Gpu, &Whither::Any).await?.ack_wait();
            layout::ensure_class(nats, class, &here, ack_wait).await?;
            Puller::open(nats, class, &here).await
        }
        opened => opened,
    }
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

async fn deliver_left(journal: Journal, stop: tokio_util::sync::CancellationToken) -> anyhow::Result<()> {
    let delivered = journal.deliver_left(&stop).await?;
    if delivered > 0 {
        tracing::info!(delivered, "stored results that an earlier run left");
    }
    Ok(())
}

fn describe(slots: &BTreeMap<Class, u32>) -> String {
    let classes: Vec<String> = slots.iter().map(|(class, slots)| format!("{class}:{slots}")).collect();
    classes.join(" ")
}
