//! Follows the chain for everybody while nobody else does.
//!
//! The coordinator is the one to write bucket `CHAIN`: it knows every miner from the moment it is created. When the
//! bucket falls silent the poster writes it, for the miners it knows, and lets the role go again after a while so that
//! a coordinator that is back can have it.

use std::{sync::Arc, time::Duration};

use chain::{
    ChainApi,
    follower::{FollowerConfig, follow},
};
use host::clock::Clock;
use streams::{
    error::QueueError,
    id::MinerId,
    kv::{Bucket, BucketName},
    nats::Nats,
    records::ChainHead,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long the role is kept before another may have it.
const STINT: Duration = Duration::from_secs(60);

/// What it needs.
pub(crate) struct StandIn {
    pub(crate) nats: Nats,
    pub(crate) chain: Arc<dyn ChainApi>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) miners: watch::Receiver<Vec<MinerId>>,
    pub(crate) config: FollowerConfig,
}

impl StandIn {
    /// Runs until `cancel`. The queue's failures do not end it.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        while !cancel.is_cancelled() {
            if let Some(Err(error)) = cancel.run_until_cancelled(self.once(&cancel)).await {
                warn!("follow the chain: {:#}", anyhow::Error::from(error));
                pause(self.config.poll, &cancel).await;
            }
        }
        Ok(())
    }

    /// Waits for silence, then follows for one stint.
    async fn once(&self, cancel: &CancellationToken) -> Result<(), QueueError> {
        self.silence(cancel).await?;
        let stint = cancel.child_token();
        let clock = Arc::clone(&self.clock);
        let following = follow(&self.nats, Arc::clone(&self.chain), self.miners.clone(), &self.config, clock, &stint);
        let end = async {
            pause(STINT, cancel).await;
            stint.cancel();
        };
        tokio::join!(following, end).0
    }

    /// Returns once the bucket's head has not been written for as long as a follower may be silent.
    async fn silence(&self, cancel: &CancellationToken) -> Result<(), QueueError> {
        let heads: Bucket<ChainHead> = Bucket::open(&self.nats, BucketName::Chain).await?;
        let mut seen = None;
        let mut since = Instant::now();
        while since.elapsed() < self.config.silence_max {
            let revision = heads.get("head").await?.map(|entry| entry.revision);
            if revision != seen {
                seen = revision;
                since = Instant::now();
            }
            pause(self.config.silence_max / 4, cancel).await;
        }
        Ok(())
    }
}

async fn pause(time: Duration, cancel: &CancellationToken) {
    // Either way the caller looks again.
    let _ = tokio::time::timeout(time, cancel.cancelled()).await;
}
