//! The chain's head, as the follower tells it: what everything that waits for an epoch wakes up by.

use std::time::Duration;

use chain::follower::HeadWatch;
use streams::{nats::Nats, records::ChainHead};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The head last told; `None` before the first.
pub(crate) type Head = watch::Receiver<Option<ChainHead>>;

/// Passes each new head on, until told to stop.
pub(crate) async fn run(
    nats: Nats,
    heads: watch::Sender<Option<ChainHead>>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut watch = HeadWatch::open(&nats).await?;
    loop {
        let next = tokio::select! {
            next = watch.next() => next,
            () = cancel.cancelled() => return Ok(()),
        };
        match next {
            Ok(head) => {
                heads.send_replace(Some(head));
            }
            Err(error) => {
                tracing::warn!("watch the chain's head: {}", host::exit::chain(&error));
                tokio::time::sleep(Duration::from_secs(1)).await;
                watch = HeadWatch::open(&nats).await?;
            }
        }
    }
}
