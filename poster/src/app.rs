//! Opens every connection and starts every task of `poster run`, once and in this order.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use chain::{
    ChainApi,
    api::NetworkParams,
    follower::FollowerConfig,
    key::LocalKey,
    policy::{NetworkPolicy, PolicyOverride},
    rpc::JsonRpc,
    sender::{Sender, SenderConfig},
};
use host::{
    clock::{Clock, SystemClock},
    exit::{CliError, Exit},
    signal,
    tasks::Tasks,
};
use prover::Verifier;
use streams::{
    error::QueueError,
    id::Epoch,
    kv::{Bucket, BucketName},
    nats::{Nats, NatsConfig},
    pull::Intake,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    check::Checker,
    config::Config,
    deadline::Timing,
    hand_out::Desk,
    outbox,
    plan::Policy,
    posts::Posts,
    replicas::Replicas,
    stand_in::StandIn,
    submit::Submitter,
    tools::Tools,
    wake,
    watcher::{Channels, Watcher},
};

/// How long to wait between looks for a stream or bucket that the coordinator has not created yet.
const LAYOUT_POLL: Duration = Duration::from_millis(500);

/// Runs the poster until a signal.
pub(crate) async fn run(config: Config, home: &Path) -> Result<(), CliError> {
    let stop = signal::shutdown().context("listen to signals")?;
    let parts = Parts::open(&config, home).await?;
    let app = App::build(config, parts).await?;
    let tasks = Tasks::new();
    app.spawn(&tasks);
    tasks.run_until(stop).await.map_err(|error| CliError::from(anyhow::Error::from(error)))
}

/// What a poster is put together from.
pub(crate) struct Parts {
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) network: NetworkParams,
    pub(crate) nats: Nats,
    pub(crate) key: LocalKey,
    pub(crate) verifier: Arc<dyn Verifier>,
    /// Unique to this run.
    pub(crate) holder: String,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Parts {
    async fn open(config: &Config, home: &Path) -> Result<Self, CliError> {
        let key = load_key(config, home)?;
        let node = JsonRpc::new(&config.chain.node())
            .map_err(|error| CliError::new(Exit::Config, "set up the chain node").because(error))?;
        let network = node.network_params().await.map_err(|error| {
            CliError::new(Exit::Unavailable, "ask the chain node for its network")
                .because(error)
                .hint("is the node running? its address is `chain.api` in poster.toml")
        })?;
        prover::params::refuse_devnet_parameters(&network.name)
            .map_err(|error| CliError::new(Exit::Refused, "check the proof parameters").because(error))?;
        let holder = format!("poster-{}", uuid::Uuid::new_v4());
        let nats = NatsConfig {
            url: config.nats.url.clone(),
            name: holder.clone(),
            connect_timeout: config.nats.connect_timeout,
        };
        let nats = Nats::connect(&nats).await.map_err(queue_down)?;
        Ok(Self {
            chain: Arc::new(node),
            network,
            nats,
            key,
            verifier: prover::verifier(),
            holder,
            clock: Arc::new(SystemClock),
        })
    }
}

/// Everything open, nothing running.
pub(crate) struct App {
    config: Config,
    sender: Arc<Sender>,
    tools: Tools,
    intake: Intake,
    block_delay: Duration,
}

impl App {
    /// Puts a poster together; waits for the coordinator to create streams and buckets.
    pub(crate) async fn build(config: Config, parts: Parts) -> Result<Self, CliError> {
        let Parts { chain, network, nats, key, verifier, holder, clock } = parts;
        let (confidence, finality) = depths(&config, &network)?;
        let patience = config.nats.connect_timeout;
        let posts = Posts::new(present(patience, || Bucket::open(&nats, BucketName::Posts)).await?);
        let replicas = Replicas::new(present(patience, || Bucket::open(&nats, BucketName::Sectors)).await?);
        let intake = present(patience, || Intake::post_results(&nats)).await?;

        let rules = SenderConfig {
            gas_limit_percent: config.sender.gas_limit_percent,
            max_fee: config.sender.max_fee.clone(),
            confidence,
            finality,
        };
        let sender = Sender::open(&nats, Arc::clone(&chain), key, rules, Arc::clone(&clock)).await;
        let sender = Arc::new(sender.context("open the outbox")?);
        info!(network = network.name, sender = sender.sender(), "poster");

        let block_delay = Duration::from_secs(network.block_delay_secs.max(1));
        let checker = Checker::new(verifier);
        let submitter = Submitter::new(Arc::clone(&chain), Arc::clone(&sender), posts.clone(), checker.clone());
        let timing =
            Timing { start_confidence: config.post.start_confidence, submit_confidence: config.post.submit_confidence };
        let partitions_per_message = config.post.partitions_per_message;
        let tools = Tools {
            chain,
            desk: Desk::new(nats.clone(), block_delay),
            nats,
            checker,
            posts,
            replicas,
            submitter,
            clock,
            policy: Policy { timing, partitions_per_message, confidence },
            holder,
            lease_ttl: config.post.lease_ttl,
        };
        Ok(Self { config, sender, tools, intake, block_delay })
    }

    /// Starts every task.
    pub(crate) fn spawn(self, tasks: &Tasks) {
        let Self { config, sender, tools, intake, block_delay } = self;
        let (wake, wakes) = mpsc::channel(wake::WAKES_MAX);
        let (leading, led) = watch::channel(false);
        let (known, miners) = watch::channel(config.miners.clone());
        let follower = FollowerConfig::for_block_delay(tools.holder.clone(), block_delay);
        let poll = follower.poll;
        let stand_in = StandIn {
            nats: tools.nats.clone(),
            chain: Arc::clone(&tools.chain),
            clock: Arc::clone(&tools.clock),
            miners,
            config: follower,
        };
        // The chain moves once a block; the bucket says so sooner, when somebody writes it.
        let check_interval = config.post.check_interval.min(block_delay);

        tasks.spawn("follower", stand_in.run(tasks.token()));
        tasks.spawn("outbox", outbox::run(sender, Arc::clone(&tools.chain), poll, tasks.token()));
        tasks.spawn("heads", watch_heads(tools.nats.clone(), wake.clone(), tasks.token()));
        tasks.spawn("miners", watch_miners(tools.nats.clone(), wake.clone(), tasks.token()));
        tasks.spawn("results", wake::results(intake.clone(), wake, led, tasks.token()));
        let only = config.miners.iter().copied().collect();
        let watcher = Watcher::new(tools, intake, only, Channels { wakes, leading, known }, check_interval);
        tasks.spawn("watcher", watcher.run(tasks.token()));
    }
}

fn load_key(config: &Config, home: &Path) -> Result<LocalKey, CliError> {
    let path = config.sender.key_file.clone().unwrap_or_else(|| home.join("keys").join("poster.json"));
    LocalKey::load(&path).map_err(|error| {
        CliError::new(Exit::Config, "load the key that sends window PoSts").because(error).hint(
            "name its file with `sender.key_file` in poster.toml; the address must be a control address of the miners",
        )
    })
}

/// Epochs after which what the chain has is believed (a person's word, or the network's), and after which it is final.
fn depths(config: &Config, params: &NetworkParams) -> Result<(Epoch, Epoch), CliError> {
    let overrides = &config.chain.policy;
    // A network without a row is one that a person describes, beginning from mainnet's numbers.
    let described = || (*overrides != PolicyOverride::default()).then(NetworkPolicy::mainnet);
    let policy = NetworkPolicy::for_network(&params.name).or_else(described).ok_or_else(|| {
        CliError::new(Exit::Config, format!("network {} is not known", params.name))
            .hint("say in [chain.policy] of poster.toml where it differs from mainnet")
    })?;
    let policy = policy.overridden(overrides);
    Ok((config.sender.confidence.unwrap_or(policy.message_confidence), policy.finality))
}

fn queue_down(error: QueueError) -> CliError {
    let hint = error.hint();
    let told = CliError::new(Exit::Unavailable, "open the queue").because(error);
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Opens what the coordinator creates; waits for it for a while, so that the two can be started together.
async fn present<T, F>(patience: Duration, open: impl Fn() -> F) -> Result<T, CliError>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let opened = async {
        loop {
            match open().await {
                Err(QueueError::Missing { .. }) => tokio::time::sleep(LAYOUT_POLL).await,
                opened => return opened,
            }
        }
    };
    match tokio::time::timeout(patience, opened).await {
        Ok(opened) => opened.map_err(queue_down),
        Err(_) => open().await.map_err(queue_down),
    }
}

async fn watch_heads(nats: Nats, wakes: mpsc::Sender<wake::Wake>, cancel: CancellationToken) -> anyhow::Result<()> {
    wake::heads(Bucket::open(&nats, BucketName::Chain).await.context("open bucket CHAIN")?, wakes, cancel).await
}

async fn watch_miners(nats: Nats, wakes: mpsc::Sender<wake::Wake>, cancel: CancellationToken) -> anyhow::Result<()> {
    wake::miners(Bucket::open(&nats, BucketName::Chain).await.context("open bucket CHAIN")?, wakes, cancel).await
}
