//! What becomes of a task once its job is over.

use std::{sync::Arc, time::Duration};

use streams::pull::Delivery;

use crate::halt::BUSY_DELAY;

/// What becomes of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    /// Its result is stored, or it is old.
    Ack,
    /// Another try, by whomever.
    Nak(Option<Duration>),
    /// Nobody can read it.
    Term(&'a str),
    /// Its result waits on disk: the message may come back, and will then be old.
    Leave,
}

impl Fate<'_> {
    /// After the result of a job was offered.
    pub(crate) fn after(stored: anyhow::Result<bool>) -> Self {
        match stored {
            Ok(true) => Self::Ack,
            Ok(false) => Self::Leave,
            Err(error) => {
                tracing::error!("keep the result: {error:#}");
                Self::Nak(Some(BUSY_DELAY))
            }
        }
    }
}

/// Settles a task, where there is one.
pub(crate) async fn settle(delivery: Option<Arc<Delivery>>, fate: Fate<'_>) {
    let Some(delivery) = delivery else { return };
    let settled = match fate {
        Fate::Ack => delivery.ack().await,
        Fate::Nak(delay) => delivery.nak(delay).await,
        Fate::Term(reason) => delivery.term(reason).await,
        Fate::Leave => Ok(()),
    };
    if let Err(error) = settled {
        // It comes back after ack_wait, and is then judged by its record.
        tracing::warn!(subject = delivery.subject(), "settle the task: {:#}", anyhow::Error::from(error));
    }
    host::failpoint!("agent.task.settled");
}
