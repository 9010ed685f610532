//! Who tells everybody where the chain is.
//!
//! Any coordinator or poster can hold the role (lease `follower`). The holder polls the head, and with each new one
//! writes `head` and each miner's `deadline.<miner>` into bucket `CHAIN`. A holder whose node is silent lets the role
//! go, so that another with another node can take it. A watch on the bucket coalesces: it is a wake-up, and whoever
//! decides by it asks its own node.

use std::{sync::Arc, time::Duration};

use host::{clock::Clock, failpoint};
use streams::{
    error::QueueError,
    id::{Epoch, MinerId, Timestamp},
    kv::{Bucket, BucketName, Change, Watch},
    lease::Lease,
    nats::Nats,
    records::{ChainHead, DeadlineNow},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{ChainApi, NetworkParams, TipSet, TipSetKey},
    error::ChainError,
};

/// The lease's key.
pub const LEASE: &str = "follower";
const HEAD: &str = "head";

/// The key of a miner's deadline.
#[must_use]
pub fn deadline_key(miner: MinerId) -> String {
    format!("deadline.{miner}")
}

/// How the head is followed.
#[derive(Debug, Clone)]
pub struct FollowerConfig {
    /// Unique to this run of this process.
    pub holder: String,
    /// How often the node is asked; a fraction of the block delay.
    pub poll: Duration,
    /// How long the role is held without being renewed.
    pub lease_ttl: Duration,
    /// How long the node may be silent before the role is let go.
    pub silence_max: Duration,
}

impl FollowerConfig {
    /// Numbers that fit a block delay.
    #[must_use]
    pub fn for_block_delay(holder: String, block_delay: Duration) -> Self {
        Self {
            holder,
            poll: (block_delay / 4).clamp(Duration::from_millis(100), Duration::from_secs(5)),
            lease_ttl: Duration::from_secs(20),
            silence_max: (block_delay * 3).max(Duration::from_secs(20)),
        }
    }
}

/// Follows the head until `cancel`. What fails on the way, at the node or in the queue, is logged and tried again; only
/// a bucket that does not exist ends it.
pub async fn follow(
    nats: &Nats,
    chain: Arc<dyn ChainApi>,
    miners: watch::Receiver<Vec<MinerId>>,
    config: &FollowerConfig,
    clock: Arc<dyn Clock>,
    cancel: &CancellationToken,
) -> Result<(), QueueError> {
    let heads = Bucket::open(nats, BucketName::Chain).await?;
    let deadlines = Bucket::open(nats, BucketName::Chain).await?;
    let mut follower = Follower { chain, miners, heads, deadlines, clock, network: None, written: None };
    while !cancel.is_cancelled() {
        if let Err(error) = follower.take_turn(nats, config, cancel).await {
            tracing::warn!("follow the chain's head: {error}");
        }
        pause(config.lease_ttl / 4, cancel).await;
    }
    Ok(())
}

struct Follower {
    chain: Arc<dyn ChainApi>,
    miners: watch::Receiver<Vec<MinerId>>,
    heads: Bucket<ChainHead>,
    deadlines: Bucket<DeadlineNow>,
    clock: Arc<dyn Clock>,
    network: Option<NetworkParams>,
    /// The head last written, with the miners it was written for.
    written: Option<(TipSetKey, Vec<MinerId>)>,
}

/// Why a round wrote nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Follower {
    /// Takes the role, if it is free, and holds it for as long as it can.
    async fn take_turn(
        &mut self,
        nats: &Nats,
        config: &FollowerConfig,
        cancel: &CancellationToken,
    ) -> Result<(), QueueError> {
        let Some(lease) = Lease::try_take(nats, LEASE, &config.holder, config.lease_ttl).await? else { return Ok(()) };
        failpoint!("chain.follower.role-taken");
        tracing::info!("following the chain's head");
        let led = self.lead(&lease, config, cancel).await;
        let released = lease.release().await;
        led.and(released)
    }

    /// Holds the role until it is lost, the node is silent for too long, or `cancel`.
    async fn lead(
        &mut self,
        lease: &Lease,
        config: &FollowerConfig,
        cancel: &CancellationToken,
    ) -> Result<(), QueueError> {
        // Another may have written since this process last did.
        self.written = None;
        let mut renewed = self.clock.monotonic();
        let mut heard = renewed;
        let mut silent = false;
        while !cancel.is_cancelled() && lease.is_held() {
            let now = self.clock.monotonic();
            if now.duration_since(renewed) >= config.lease_ttl / 3 {
                if !lease.renew().await? {
                    return Ok(());
                }
                renewed = now;
            }
            match self.round().await {
                Ok(()) => {
                    heard = self.clock.monotonic();
                    silent = false;
                }
                Err(RoundError::Queue(error)) => return Err(error),
                Err(RoundError::Chain(error)) => {
                    if !std::mem::replace(&mut silent, true) {
                        tracing::warn!("read the chain's head: {error}");
                    }
                    if self.clock.monotonic().duration_since(heard) >= config.silence_max {
                        tracing::error!("the node is silent, another may follow the head: {error}");
                        return Ok(());
                    }
                }
            }
            pause(config.poll, cancel).await;
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let head = self.chain.head().await?;
        let miners = self.miners.borrow().clone();
        if self.written.as_ref().is_some_and(|(key, of)| *key == head.key && *of == miners) {
            return Ok(());
        }
        let network = match &self.network {
            Some(network) => network.clone(),
            None => self.network.insert(self.chain.network_params().await?).clone(),
        };
        // Deadlines first: who wakes up by the head finds deadlines that are not older.
        for miner in &miners {
            match self.chain.proving_deadline(*miner, &head.key).await {
                Ok(deadline) => {
                    self.deadlines.put(&deadline_key(*miner), &deadline).await?;
                    failpoint!("chain.follower.deadline-written");
                }
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) => tracing::warn!(%miner, "read the proving deadline: {error}"),
            }
        }
        self.heads.put(HEAD, &self.record(&head, network)).await?;
        failpoint!("chain.follower.head-written");
        self.written = Some((head.key, miners));
        Ok(())
    }

    fn record(&self, head: &TipSet, network: NetworkParams) -> ChainHead {
        ChainHead {
            epoch: head.height,
            tipset: head.key.iter().map(ToString::to_string).collect(),
            block_delay_secs: network.block_delay_secs,
            network: network.name,
            at: Timestamp(self.clock.now_unix_ms()),
        }
    }
}

async fn pause(time: Duration, cancel: &CancellationToken) {
    // Either way the caller looks again.
    let _ = timeout(time, cancel.cancelled()).await;
}

/// The head as the follower last told it, and a wait for the next.
#[derive(Debug)]
pub struct HeadWatch {
    watch: Watch<ChainHead>,
    latest: Option<ChainHead>,
}

impl HeadWatch {
    /// Starts to watch.
    pub async fn open(nats: &Nats) -> Result<Self, QueueError> {
        let heads: Bucket<ChainHead> = Bucket::open(nats, BucketName::Chain).await?;
        Ok(Self { watch: heads.watch(HEAD).await?, latest: None })
    }

    /// The last head seen, if any was.
    #[must_use]
    pub const fn latest(&self) -> Option<&ChainHead> {
        self.latest.as_ref()
    }

    /// Waits for the next head written, the current one at first.
    pub async fn next(&mut self) -> Result<ChainHead, QueueError> {
        loop {
            if let Change::Put(entry) = self.watch.next().await? {
                self.latest = Some(entry.value.clone());
                return Ok(entry.value);
            }
        }
    }

    /// Waits, at most `limit`, for a head at or above `epoch`; `None` when there was none by then.
    pub async fn wait_for(&mut self, epoch: Epoch, limit: Duration) -> Result<Option<ChainHead>, QueueError> {
        if let Some(head) = self.latest.as_ref().filter(|head| head.epoch >= epoch) {
            return Ok(Some(head.clone()));
        }
        let reached = async {
            loop {
                let head = self.next().await?;
                if head.epoch >= epoch {
                    return Ok(head);
                }
            }
        };
        match timeout(limit, reached).await {
            Ok(head) => head.map(Some),
            Err(_) => Ok(None),
        }
    }
}
