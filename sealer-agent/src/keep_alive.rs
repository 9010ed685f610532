//! A task stays ours for as long as its work runs: every quarter of `ack_wait` the claim is beaten and, while it is
//! ours, the queue is told. The work itself goes on even when both are lost: hours of it may still be worth offering.

use std::time::Duration;

use streams::error::QueueError;

use crate::{
    running::Pointer,
    tenure::{Beat, Tenure},
};

/// Runs `work` to its end and keeps its task alive meanwhile, where there is one; under `tenure`, where the task has
/// a claim.
pub(crate) async fn while_working<T>(
    pointer: &mut Pointer,
    tenure: Option<&mut Tenure>,
    ack_wait: Duration,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        // In one order, so that one seed of the simulator is one run.
        biased;
        end = work => end,
        never = keep(pointer, tenure, ack_wait / 4) => match never {},
    }
}

async fn keep(pointer: &mut Pointer, mut tenure: Option<&mut Tenure>, every: Duration) -> std::convert::Infallible {
    let mut was_ours = true;
    loop {
        // A task that comes again may belong to another life of the queue: then the claim is taken there at once.
        let came = tokio::select! {
            biased;
            () = tokio::time::sleep(every) => false,
            () = pointer.came() => true,
        };
        let beaten = match tenure.as_deref_mut().map(Tenure::beat) {
            None => Ok(Beat::Ours),
            Some(beat) => beat.await,
        };
        match &beaten {
            Ok(Beat::OursInNewLife) if !came => pointer.forget(),
            Ok(Beat::Lost) if was_ours => {
                tracing::warn!("the claim is not ours any more; the result will be offered all the same");
            }
            _ => {}
        }
        was_ours = !matches!(beaten, Ok(Beat::Lost));
        if let Err(error) = tell(pointer, beaten).await {
            tracing::warn!("say that the work goes on: {:#}", anyhow::Error::from(error));
        }
    }
}

async fn tell(pointer: &Pointer, beaten: Result<Beat, QueueError>) -> Result<(), QueueError> {
    match (beaten?, pointer.latest()) {
        (Beat::Ours | Beat::OursInNewLife, Some(delivery)) => delivery.progress().await,
        (Beat::Lost, _) | (_, None) => Ok(()),
    }
}
