//! A task stays ours for as long as its work runs: every quarter of `ack_wait` the claim is beaten and, while it is
//! ours, the queue is told. The work itself goes on even when both are lost: hours of it may still be worth offering.

use std::time::Duration;

use streams::pull::Delivery;

use crate::claim::Held;

/// Runs `work` to its end and keeps `delivery` alive meanwhile; under `claim`, where the task has one.
pub(crate) async fn while_working<T>(
    delivery: &Delivery,
    claim: Option<&mut Held>,
    ack_wait: Duration,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        // In one order, so that one seed of the simulator is one run.
        biased;
        end = work => end,
        never = keep(delivery, claim, ack_wait / 4) => match never {},
    }
}

async fn keep(delivery: &Delivery, mut claim: Option<&mut Held>, every: Duration) -> std::convert::Infallible {
    let mut was_ours = true;
    loop {
        tokio::time::sleep(every).await;
        let ours = match claim.as_deref_mut().map(Held::beat) {
            None => Ok(true),
            Some(beat) => beat.await,
        };
        let told = match ours {
            Ok(true) => delivery.progress().await,
            Ok(false) if was_ours => {
                was_ours = false;
                tracing::warn!("another agent took this task over; its result will be offered all the same");
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::warn!("say that the work goes on: {:#}", anyhow::Error::from(error));
        }
    }
}
