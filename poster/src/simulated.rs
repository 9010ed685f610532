//! The way in for the simulator, which hands in everything that a poster otherwise opens. Only behind the feature
//! `simulated`.

use std::sync::Arc;

use chain::{ChainApi, key::LocalKey, policy::NetworkPolicy};
use host::{clock::Clock, tasks::Tasks};
use prover::Verifier;
use streams::{id::MinerId, nats::Nats};

use crate::{
    app::{App, Parts},
    config::Config,
};

/// What a simulated poster is put together from.
pub struct Simulated {
    /// Its queue.
    pub nats: Nats,
    /// Its node.
    pub chain: Arc<dyn ChainApi>,
    /// Its key.
    pub key: LocalKey,
    /// What it verifies with.
    pub verifier: Arc<dyn Verifier>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Unique to this run.
    pub holder: String,
    /// Whom it proves for.
    pub miners: Vec<MinerId>,
    /// The network's rules.
    pub policy: NetworkPolicy,
}

/// Starts a poster's tasks.
pub async fn start(simulated: Simulated, tasks: &Tasks) -> anyhow::Result<()> {
    let Simulated { nats, chain, key, verifier, clock, holder, miners, policy } = simulated;
    let network = chain.network_params().await?;
    let mut config = Config { miners, ..Config::default() };
    config.sender.confidence = Some(policy.message_confidence);
    config.chain.policy.finality = Some(policy.finality);
    let parts = Parts { chain, network, nats, key, verifier, holder, clock };
    App::build(config, parts).await?.spawn(tasks);
    Ok(())
}
