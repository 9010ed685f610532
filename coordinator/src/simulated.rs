//! The way in for the simulator, which hands in everything that a coordinator otherwise opens. Only behind the feature
//! `simulated`. There is no listener for pieces: simulated sectors are empty.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use chain::{
    ChainApi,
    follower::{FollowerConfig, follow},
    policy::NetworkPolicy,
    sender::SenderConfig,
};
use host::{clock::Clock, tasks::Tasks};
use prover::Verifier;
use streams::{
    id::MinerId,
    layout::{LayoutOptions, ensure},
    nats::Nats,
};
use tokio::sync::watch;

use crate::{
    app::lives,
    aside::Aside,
    config::{BatchKeys, BatchSection, Config, MinerSection, QueueSection, SenderSection},
    head,
    leader::Leader,
    miners::Miners,
    pieces::Unseals,
    status::Status,
};

/// What a simulated coordinator is put together from.
pub struct Simulated {
    /// Its queue.
    pub nats: Nats,
    /// Its node.
    pub chain: Arc<dyn ChainApi>,
    /// What it verifies with.
    pub verifier: Arc<dyn Verifier>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Unique to this run.
    pub holder: String,
    /// Whom it seals for.
    pub miners: Vec<MinerId>,
    /// The key that signs.
    pub key_file: PathBuf,
    /// Its data folder.
    pub data: PathBuf,
    /// The network's rules.
    pub policy: NetworkPolicy,
    /// How often it reconciles.
    pub reconcile_interval: Duration,
    /// How many sectors a message waits for, and for how long.
    pub batch: (u64, Duration),
}

impl Simulated {
    fn config(&self) -> Config {
        let miner = |id: &MinerId| MinerSection { id: *id, pre_commit_key_file: None, prove_commit_key_file: None };
        let batch = BatchKeys { threshold: self.batch.0, max_wait: self.batch.1 };
        Config {
            sender: SenderSection { key_file: Some(self.key_file.clone()) },
            miners: self.miners.iter().map(miner).collect(),
            batch: BatchSection { pre_commit: batch.clone(), prove_commit: batch },
            reconcile_interval: self.reconcile_interval,
            ..Config::default()
        }
    }
}

/// Starts a coordinator's tasks: the head, the follower, and the wait for the lease.
pub async fn start(simulated: Simulated, tasks: &Tasks) -> anyhow::Result<()> {
    let config = simulated.config();
    let Simulated { nats, chain, verifier, clock, holder, policy, data, .. } = simulated;
    let unseals = Arc::new(Unseals::open(&data, clock.now_unix_ms()).context("open the folder of unsealed data")?);
    let aside = Aside::open(&data).context("open the folder of what cannot be read")?;
    let QueueSection { ack_wait, replicas } = config.queue;
    let network = chain.network_params().await.context("ask the chain node")?;
    let lives = lives(&nats, &data, &network, &clock)?;
    // In the order of a real start: an empty layout would look like a new queue.
    lives.refuse_lost().await?;
    ensure(&nats, &LayoutOptions { replicas, ack_wait }).await.context("create streams and buckets")?;
    lives.check().await?;
    let miners = open_miners(&nats, &chain, &clock, &config, &policy, &data).await?;
    let (heads, head) = watch::channel(None);
    tasks.spawn("head", head::run(nats.clone(), heads, tasks.token()));
    tasks.spawn("follower", {
        let block_delay = Duration::from_millis(policy.block_delay_ms);
        let config = FollowerConfig::for_block_delay(holder.clone(), block_delay);
        let (nats, chain, clock, token) = (nats.clone(), Arc::clone(&chain), Arc::clone(&clock), tasks.token());
        let ids = miners.ids();
        async move { Ok(follow(&nats, chain, ids, &config, clock, &token).await?) }
    });
    let base = "http://simulated".to_owned();
    let (network, status) = (network.name, Arc::new(Status::default()));
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
    Ok(())
}

async fn open_miners(
    nats: &Nats,
    chain: &Arc<dyn ChainApi>,
    clock: &Arc<dyn Clock>,
    config: &Config,
    policy: &NetworkPolicy,
    data: &Path,
) -> anyhow::Result<Arc<Miners>> {
    let sender = SenderConfig {
        gas_limit_percent: config.gas.over_estimation_percent,
        max_fee: config.gas.max_fee.clone(),
        confidence: policy.message_confidence,
        finality: policy.finality,
    };
    let (chain, clock) = (Arc::clone(chain), Arc::clone(clock));
    let miners = Miners::open(nats.clone(), chain, clock, config, sender, data).await;
    Ok(Arc::new(miners.map_err(anyhow::Error::from).context("open the miners")?))
}
