//! Streams, buckets and consumers as data, created where missing, with drift reported.

use std::{fmt, time::Duration};

use crate::{error::QueueError, nats::Nats, stage::Class, subject::Whither};

/// What the operator decides about the layout.
#[derive(Debug, Clone)]
pub struct LayoutOptions {
    /// Copies of every stream: 1, or 3 on a cluster.
    pub replicas: usize,
    /// How long a task may be silent before another agent gets it.
    pub ack_wait: Duration,
}

/// A setting that is not what this program would have set. It is reported and never changed behind an operator's back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What has it: `stream TASKS`, `consumer TASKS pc2-gpu`.
    pub of: String,
    /// The setting.
    pub setting: String,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub wanted: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {}, want {}", self.of, self.setting, self.found, self.wanted)
    }
}

/// Creates what is missing and reports what differs.
pub async fn ensure(nats: &Nats, options: &LayoutOptions) -> Result<Vec<Drift>, QueueError> {
    let _ = (nats, options);
    todo!()
}

/// Creates the durable consumer of a class at a place, unless it exists.
pub async fn ensure_class(nats: &Nats, class: Class, whither: &Whither, ack_wait: Duration) -> Result<(), QueueError> {
    let _ = (nats, class, whither, ack_wait);
    todo!()
}
