//! A queue can be lost with everything in it while its agents live. The coordinator lays it out again, but the consumers
//! of a place are its agents' to make: without them nothing bound to the place would ever be delivered.

use std::time::Duration;

use streams::{error::QueueError, nats::Nats};
use tokio_util::sync::CancellationToken;

use crate::queue::{self, Source};

/// Looks every so often whether the consumers are there, and makes those of this place again.
pub(crate) async fn run(
    nats: Nats,
    sources: Vec<Source>,
    every: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut missing = false;
    loop {
        let pause = if missing { queue::LOOK_EVERY } else { every };
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        let looked = tokio::select! {
            biased;
            looked = look(&nats, &sources) => looked,
            () = stop.cancelled() => return Ok(()),
        };
        match looked {
            Ok(()) if missing => {
                tracing::info!("the queue is laid out again: this agent goes on");
                missing = false;
            }
            Ok(()) => {}
            Err(error @ QueueError::Missing { .. }) => {
                if !missing {
                    tracing::error!("{error}: waiting for a coordinator to lay the queue out again; work goes on");
                }
                missing = true;
            }
            // An outage, which says nothing about the layout.
            Err(error) => tracing::debug!("look at the layout: {:#}", anyhow::Error::from(error)),
        }
    }
}

async fn look(nats: &Nats, sources: &[Source]) -> Result<(), QueueError> {
    for source in sources {
        queue::open_consumer(nats, source).await?;
    }
    Ok(())
}
