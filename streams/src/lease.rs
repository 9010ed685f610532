//! Roles held for a time.

use std::time::Duration;

use crate::{error::QueueError, nats::Nats};

/// A role that is ours until its time is up.
#[derive(Debug)]
pub struct Lease {}

impl Lease {
    /// Takes the role unless another holds it.
    pub async fn try_take(nats: &Nats, key: &str, holder: &str, ttl: Duration) -> Result<Option<Self>, QueueError> {
        let _ = (nats, key, holder, ttl);
        todo!()
    }

    /// Extends it by its full time; `false` when another took it.
    pub async fn renew(&self) -> Result<bool, QueueError> {
        todo!()
    }

    /// Whether it is still ours, by our own monotonic clock, which ends some seconds before the server's does.
    #[must_use]
    pub fn is_held(&self) -> bool {
        todo!()
    }

    /// Gives it back at once, so that another need not wait for its end.
    pub async fn release(&self) -> Result<(), QueueError> {
        todo!()
    }
}
