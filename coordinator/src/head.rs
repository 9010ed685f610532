//! The chain's head, as the follower tells it: what everything that waits for an epoch wakes up by.

use std::{convert::Infallible, time::Duration};

use chain::follower::HeadWatch;
use streams::{error::QueueError, nats::Nats, records::ChainHead};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The pause before the head is watched again after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The head last told; `None` before the first.
pub(crate) type Head = watch::Receiver<Option<ChainHead>>;

/// Passes each new head on, until told to stop.
pub(crate) async fn run(
    nats: Nats,
    heads: watch::Sender<Option<ChainHead>>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let watching = async {
        loop {
            let Err(error) = pass_on(&nats, &heads).await;
            tracing::warn!("watch the chain's head: {}", host::exit::chain(&error));
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    tokio::select! {
        biased;
        () = watching => {}
        () = cancel.cancelled() => {}
    }
    Ok(())
}

async fn pass_on(nats: &Nats, heads: &watch::Sender<Option<ChainHead>>) -> Result<Infallible, QueueError> {
    let mut watch = HeadWatch::open(nats).await?;
    loop {
        heads.send_replace(Some(watch.next().await?));
    }
}
