//! Keeps the poster's messages moving: pushes what has not landed, and writes down what has.

use std::{sync::Arc, time::Duration};

use chain::{ChainApi, sender::Sender};
use streams::records::{Fate, OutboxEntry};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// One round each new head, and at most so often.
pub(crate) async fn run(
    sender: Arc<Sender>,
    chain: Arc<dyn ChainApi>,
    poll: Duration,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut pumped_at = None;
    while !cancel.is_cancelled() {
        match chain.head().await {
            Ok(head) if pumped_at.as_ref() != Some(&head.key) => {
                if pump(&sender).await {
                    pumped_at = Some(head.key);
                }
            }
            Ok(_) => {}
            Err(error) => debug!("read the head: {error}"),
        }
        // Either way the loop looks again.
        let _ = tokio::time::timeout(poll, cancel.cancelled()).await;
    }
    Ok(())
}

/// Whether the round was whole.
async fn pump(sender: &Sender) -> bool {
    let pumped = match sender.pump().await {
        Ok(pumped) => pumped,
        Err(error) => {
            warn!("look after messages: {:#}", anyhow::Error::from(error));
            return false;
        }
    };
    for refusal in &pumped.refused {
        warn!(nonce = refusal.message.nonce, "the node does not take a message: {}", refusal.error);
    }
    for entry in &pumped.changed {
        tell(entry);
    }
    true
}

fn tell(entry: &OutboxEntry) {
    let OutboxEntry { message, method, miner, fate, .. } = entry;
    let nonce = message.nonce;
    match fate {
        Fate::Landed { exit_code: 0, height, settled, .. } => {
            info!(%miner, method, nonce, height, settled, "message landed");
        }
        Fate::Landed { exit_code, height, .. } => {
            warn!(%miner, method, nonce, height, exit_code, "message failed on chain")
        }
        Fate::Displaced { .. } => warn!(%miner, method, nonce, "another message took the nonce"),
        Fate::Journaled {} | Fate::Pushed { .. } => debug!(%miner, method, nonce, ?fate, "message"),
    }
}
