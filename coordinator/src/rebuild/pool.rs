//! Waits until nothing that was sent before is still on its way.
//!
//! Signed messages that no outbox knows of any more may wait in a node's pool. Until they have landed or are gone, what
//! the chain says of their sectors may change, and a nonce could be used for another message.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chain::{ChainApi, ChainError, sender::Sender};
use serde::Serialize;
use streams::{
    error::QueueError,
    id::SectorId,
    kv::{Bucket, BucketName},
    nats::Nats,
    records::{Fate, OutboxEntry},
};
use tokio::time::Instant;

use super::decide::Underway;

/// How often a sender is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A sender whose past is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Settled {
    /// Its address.
    pub(crate) sender: String,
    /// The nonce its next message will have.
    pub(crate) next_nonce: u64,
    /// Nonces that were signed once and that neither chain, pool nor outbox has: those messages are gone, and others
    /// use their nonces.
    pub(crate) gone: Vec<u64>,
}

/// A sender that is not settled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("messages {from} to {} of {sender} wait in the pool, after {waited:?}", until.saturating_sub(1))]
    Waiting { sender: String, from: u64, until: u64, waited: Duration },
    #[error("ask the node about {0}")]
    Chain(String, #[source] ChainError),
}

/// How long a sender is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a message that is remembered, and in no pool.
    pub(crate) grace: Duration,
    /// For one that waits in the pool.
    pub(crate) limit: Duration,
}

/// Waits for a sender's messages to land or to be gone. `kept` are the nonces of those that the outbox still has.
pub(crate) async fn settle(
    chain: &Arc<dyn ChainApi>,
    sender: &Sender,
    remembered: Option<u64>,
    kept: &BTreeSet<u64>,
    patience: Patience,
) -> Result<Settled, PoolError> {
    let Patience { grace, limit } = patience;
    let name = sender.sender().to_owned();
    let failed = |error| PoolError::Chain(name.clone(), error);
    let started = Instant::now();
    loop {
        let head = chain.head().await.map_err(failed)?;
        let on_chain = match chain.actor(&sender.address(), &head.key).await {
            Ok(actor) => actor.nonce,
            Err(error) if error.is_not_found() => 0,
            Err(error) => return Err(failed(error)),
        };
        let next = chain.mpool_nonce(&sender.address()).await.map_err(failed)?;
        let waited = started.elapsed();
        let signed = remembered.map_or(0, |nonce| nonce.saturating_add(1));
        if next <= on_chain && (signed <= on_chain || waited >= grace) {
            let after_kept = kept.last().map_or(0, |nonce| nonce.saturating_add(1));
            let gone = (on_chain..signed).filter(|nonce| !kept.contains(nonce)).collect();
            return Ok(Settled { sender: name, next_nonce: on_chain.max(after_kept), gone });
        }
        if next > on_chain && waited >= limit {
            return Err(PoolError::Waiting { sender: name, from: on_chain, until: next, waited: limit });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is left in the outbox.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Messages that may still land, by the sectors they carry. The pump goes on pushing these very bytes, so their
    /// sectors must stay with them.
    pub(crate) underway: BTreeMap<SectorId, Underway>,
    /// Every nonce, by sender.
    pub(crate) nonces: BTreeMap<String, BTreeSet<u64>>,
}

/// Reads what is left in the outbox.
pub(crate) async fn left(nats: &Nats) -> Result<Left, QueueError> {
    let outbox: Bucket<OutboxEntry> = Bucket::open(nats, BucketName::Messages).await?;
    let mut left = Left::default();
    for entry in outbox.entries(">").await? {
        let OutboxEntry { message, method, miner, sectors, fate, .. } = entry.value;
        left.nonces.entry(message.sender.clone()).or_default().insert(message.nonce);
        if !matches!(fate, Fate::Journaled {} | Fate::Pushed { .. }) {
            continue;
        }
        for number in sectors {
            let carried = Underway { method: method.clone(), message: message.clone() };
            left.underway.insert(SectorId { miner, number }, carried);
        }
    }
    Ok(left)
}
