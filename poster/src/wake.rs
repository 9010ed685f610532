//! Wake-ups: a new head, a new miner, a result. They say "look now" and nothing that is decided by.

use std::time::Duration;

use streams::{
    id::MinerId,
    kv::{Bucket, Change},
    pull::{Delivery, Intake},
    records::{ChainHead, DeadlineNow},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Wake-ups that may wait to be looked at; heads are coalesced there.
pub(crate) const WAKES_MAX: usize = 256;
/// How long a broken watch or pull is left alone before it is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// How long one pull waits for a result.
const PULL_WAIT: Duration = Duration::from_secs(5);

/// What woke the poster.
#[derive(Debug)]
pub(crate) enum Wake {
    /// Bucket `CHAIN` has a new head.
    Head,
    /// Bucket `CHAIN` has this miner's deadline.
    Miner(MinerId),
    /// An agent reported.
    Result(Box<Delivery>),
}

/// Follows key `head`.
pub(crate) async fn heads(
    bucket: Bucket<ChainHead>,
    wakes: mpsc::Sender<Wake>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    follow(&bucket, "head", &cancel, |_| Some(Wake::Head), &wakes).await;
    Ok(())
}

/// Follows keys `deadline.<miner>`.
pub(crate) async fn miners(
    bucket: Bucket<DeadlineNow>,
    wakes: mpsc::Sender<Wake>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    follow(&bucket, "deadline.*", &cancel, |now: &DeadlineNow| Some(Wake::Miner(now.miner)), &wakes).await;
    Ok(())
}

async fn follow<T: streams::message::Text>(
    bucket: &Bucket<T>,
    filter: &str,
    cancel: &CancellationToken,
    wake: impl Fn(&T) -> Option<Wake>,
    wakes: &mpsc::Sender<Wake>,
) {
    while !cancel.is_cancelled() {
        let told = cancel
            .run_until_cancelled(async {
                let mut changes = bucket.watch(filter).await?;
                loop {
                    if let Change::Put(entry) = changes.next().await?
                        && let Some(wake) = wake(&entry.value)
                        && wakes.send(wake).await.is_err()
                    {
                        return Ok::<_, streams::error::QueueError>(());
                    }
                }
            })
            .await;
        if let Some(Err(error)) = told {
            warn!(filter, "watch the chain's bucket: {:#}", anyhow::Error::from(error));
            pause(cancel).await;
        }
    }
}

/// Takes results while this poster leads some window; otherwise they are left to the one that does.
pub(crate) async fn results(
    intake: Intake,
    wakes: mpsc::Sender<Wake>,
    mut leading: watch::Receiver<bool>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    while !cancel.is_cancelled() {
        let Some(Ok(_)) = cancel.run_until_cancelled(leading.wait_for(|leading| *leading)).await else { break };
        match cancel.run_until_cancelled(intake.next(PULL_WAIT)).await {
            Some(Ok(Some(delivery))) => {
                if wakes.send(Wake::Result(Box::new(delivery))).await.is_err() {
                    break;
                }
            }
            Some(Ok(None)) => {}
            Some(Err(error)) => {
                warn!("take results: {:#}", anyhow::Error::from(error));
                pause(&cancel).await;
            }
            None => break,
        }
    }
    Ok(())
}

async fn pause(cancel: &CancellationToken) {
    // Either way the caller looks again.
    let _ = tokio::time::timeout(REOPEN_AFTER, cancel.cancelled()).await;
}
