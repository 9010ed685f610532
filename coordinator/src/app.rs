//! Wires a coordinator together, in the order it starts.
//!
//! ```text
//! config ─► listener bound ─► NATS, layout ─► chain, network, parameters ─► lease ─► leader
//! ```
//!
//! Whoever holds the lease `coordinator` leads: it takes results, answers requests, sends messages. A standby follows
//! the head if nobody else does, and waits for the lease. Two that believe they lead do no harm, since every record
//! and every outbox key is written by compare-and-set.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chain::{
    ChainApi,
    api::NetworkParams,
    follower::{FollowerConfig, follow},
    policy::NetworkPolicy,
    rpc::{JsonRpc, NodeConfig},
    sender::SenderConfig,
};
use host::{
    clock::{Clock, SystemClock},
    durable::FileLock,
    exit::{CliError, Exit},
    tasks::Tasks,
};
use prover::Verifier;
use streams::{
    error::QueueError,
    layout::{LayoutOptions, ensure},
    nats::{Nats, NatsConfig},
};
use tokio::sync::watch;

use crate::{
    aside::Aside,
    config::Config,
    head,
    incarnation::Lives,
    leader::Leader,
    memory::MemoryFile,
    miners::Miners,
    pieces::{Depot, Listener, Pieces, Unseals},
    status::Status,
};

/// How long tasks may take to end.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Connects to NATS as the configuration says.
pub(crate) async fn connect(config: &Config, name: &str) -> Result<Nats, CliError> {
    let nats = NatsConfig {
        url: config.nats.url.clone(),
        name: name.to_owned(),
        connect_timeout: config.nats.connect_timeout,
    };
    Nats::connect(&nats).await.map_err(|error| unavailable("use the queue", error))
}

/// A queue that cannot be used, with what to do about it.
pub(crate) fn unavailable(what: &str, error: QueueError) -> CliError {
    let hint = error.hint();
    let cli = CliError::new(Exit::Unavailable, what.to_owned()).because(error);
    match hint {
        Some(hint) => cli.hint(hint),
        None => cli,
    }
}

/// Runs the coordinator until a signal.
pub(crate) async fn run(config: Config, data: &Path) -> Result<(), CliError> {
    let stop = host::signal::shutdown().map_err(|e| CliError::new(Exit::Io, "listen for signals").because(e))?;
    let tasks = Tasks::new().drain_limit(DRAIN_MAX);
    let app = App::build(config, data).await?;
    app.spawn(&tasks, prover::verifier());
    tasks.run_until(stop).await.map_err(|e| CliError::new(Exit::Failure, "the coordinator stopped").because(e))
}

/// A coordinator that is ready to start: everything is connected and checked, nothing runs.
pub(crate) struct App {
    nats: Nats,
    chain: Arc<dyn ChainApi>,
    clock: Arc<dyn Clock>,
    config: Config,
    policy: NetworkPolicy,
    network: String,
    lives: Lives,
    miners: Arc<Miners>,
    unseals: Arc<Unseals>,
    listener: Listener,
    aside: Aside,
    lock: FileLock,
    data: PathBuf,
}

impl App {
    /// Takes the folder and the port, connects, and checks that the parts fit together.
    pub(crate) async fn build(config: Config, data: &Path) -> Result<Self, CliError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let lock = own(data)?;
        let pieces = Pieces::open(data).map_err(|e| CliError::new(Exit::Io, "open the folder of pieces").because(e))?;
        let unseals = Unseals::open(data, clock.now_unix_ms())
            .map_err(|e| CliError::new(Exit::Io, "open the folder of unsealed data").because(e))?;
        let depot = Depot::open(&config.pieces, data).await?;
        let (pieces, unseals) = (pieces.in_bucket(depot.clone()), Arc::new(unseals.in_bucket(depot)));
        let aside = Aside::open(data)
            .map_err(|e| CliError::new(Exit::Io, "open the folder of what cannot be read").because(e))?;
        let advertise = config.http.advertise.as_deref();
        let listener = Listener::bind(config.http.listen, advertise, pieces, Arc::clone(&unseals)).await?;

        let nats = connect(&config, "coordinator").await?;
        let (chain, network) = open_chain(&config).await?;
        let lives = lives(&nats, data, &network, &clock)?;
        // Before anything is created: an empty layout would look like a new queue.
        lives.refuse_lost().await?;
        create_layout(&nats, &config).await?;
        lives.check().await.map_err(|error| lives.told(error))?;
        let policy = policy_of(&config, &network)?;
        prover::params::refuse_devnet_parameters(&network.name).map_err(|e| {
            CliError::new(Exit::Refused, "proof parameters")
                .because(e)
                .hint("fetch the published parameters into another folder and name it in FIL_PROOFS_PARAMETER_CACHE")
        })?;
        let sender = sender_config(&config, &policy);
        let miners = Miners::open(nats.clone(), Arc::clone(&chain), Arc::clone(&clock), &config, sender, data).await?;
        let miners = Arc::new(miners);
        let network = network.name;
        tracing::info!(network, miners = miners.all().len(), http = listener.base(), "coordinator is ready");
        let data = data.to_owned();
        Ok(Self { nats, chain, clock, config, policy, network, lives, miners, unseals, listener, aside, lock, data })
    }

    /// Starts everything as tasks.
    pub(crate) fn spawn(self, tasks: &Tasks, verifier: Arc<dyn Verifier>) {
        let Self { nats, chain, clock, config, policy, network, lives, miners, unseals, listener, aside, lock, data } =
            self;
        let status = Arc::new(Status::default());
        let (heads, head) = watch::channel(None);
        let holder = format!("coordinator-{}", uuid::Uuid::new_v4().simple());
        let base = listener.base().to_owned();
        let http = listener.serve(tasks.token(), Arc::clone(&status));
        tasks.spawn("http", async move {
            // The folder is this process' own for as long as anything is served from it.
            let _lock = lock;
            http.await
        });
        if let Some(depot) = unseals.depot().cloned() {
            let (unseals, clock, token) = (Arc::clone(&unseals), Arc::clone(&clock), tasks.token());
            tasks.spawn("bucket", async move {
                depot.run(&unseals, &*clock, &token).await;
                Ok(())
            });
        }
        tasks.spawn("head", head::run(nats.clone(), heads, tasks.token()));
        tasks.spawn("follower", {
            let block_delay = Duration::from_millis(policy.block_delay_ms);
            let config = FollowerConfig::for_block_delay(holder.clone(), block_delay);
            let (nats, chain, clock, token) = (nats.clone(), Arc::clone(&chain), Arc::clone(&clock), tasks.token());
            let ids = miners.ids();
            async move { Ok(follow(&nats, chain, ids, &config, clock, &token).await?) }
        });
        let leader = Leader {
            nats,
            chain,
            clock,
            config,
            policy,
            network,
            lives,
            miners,
            unseals,
            head,
            base,
            holder,
            verifier,
            data,
            status,
            aside,
        };
        tasks.spawn("leader", leader.run(tasks.clone()));
    }
}

/// What the data folder remembers of the queue.
pub(crate) fn lives(
    nats: &Nats,
    data: &Path,
    network: &NetworkParams,
    clock: &Arc<dyn Clock>,
) -> Result<Lives, CliError> {
    let memory = Arc::new(MemoryFile::open(data)?);
    Ok(Lives { nats: nats.clone(), memory, network: network.name.clone(), clock: Arc::clone(clock) })
}

/// Creates streams, buckets and consumers that are not there.
pub(crate) async fn create_layout(nats: &Nats, config: &Config) -> Result<(), CliError> {
    let layout = LayoutOptions { replicas: config.queue.replicas, ack_wait: config.queue.ack_wait };
    for drift in ensure(nats, &layout).await.map_err(|e| unavailable("create streams and buckets", e))? {
        tracing::warn!("{drift}");
    }
    Ok(())
}

/// How messages are priced and believed.
pub(crate) fn sender_config(config: &Config, policy: &NetworkPolicy) -> SenderConfig {
    SenderConfig {
        gas_limit_percent: config.gas.over_estimation_percent,
        max_fee: config.gas.max_fee.clone(),
        confidence: config.confidence.unwrap_or(policy.message_confidence),
        finality: policy.finality,
    }
}

/// Takes the data folder for this process alone.
pub(crate) fn own(data: &Path) -> Result<FileLock, CliError> {
    host::durable::create_dir_all(data)
        .map_err(|e| CliError::new(Exit::Io, format!("create {}", data.display())).because(e))?;
    let lock = data.join("lock");
    host::durable::lock_exclusive(&lock).map_err(|e| {
        CliError::new(Exit::Busy, format!("lock {}", lock.display()))
            .because(e)
            .hint("another coordinator runs on this data folder; give this one a home of its own")
    })
}

pub(crate) async fn open_chain(config: &Config) -> Result<(Arc<dyn ChainApi>, NetworkParams), CliError> {
    let node = NodeConfig {
        endpoint: config.chain.api.clone(),
        token_file: config.chain.token_file.clone(),
        timeout_secs: config.chain.timeout.as_secs().max(1),
        ..NodeConfig::default()
    };
    let rpc = JsonRpc::new(&node)
        .map_err(|e| CliError::new(Exit::Config, format!("chain.api = \"{}\"", config.chain.api)).because(e))?;
    let chain: Arc<dyn ChainApi> = Arc::new(rpc);
    let network = chain.network_params().await.map_err(|e| {
        CliError::new(Exit::Unavailable, "ask the chain node")
            .because(e)
            .hint("is the node running and synced, and does chain.api in coordinator.toml name it?")
    })?;
    Ok((chain, network))
}

/// The rules of the network: our row, what the node itself says, what a person overrides.
pub(crate) fn policy_of(config: &Config, network: &NetworkParams) -> Result<NetworkPolicy, CliError> {
    let row = NetworkPolicy::for_network(&network.name);
    let overridden = config.policy != chain::policy::PolicyOverride::default();
    let row = match row {
        Some(row) => row,
        None if overridden => NetworkPolicy::mainnet(),
        None => {
            return Err(CliError::new(Exit::Config, format!("the rules of network {} are not known", network.name))
                .hint("is chain.api the right node? If so, say in [policy] where its numbers differ from mainnet's"));
        }
    };
    let mut policy = row;
    policy.pre_commit_challenge_delay = network.pre_commit_challenge_delay;
    policy.block_delay_ms = network.block_delay_secs.saturating_mul(1000);
    Ok(policy.overridden(&config.policy))
}
