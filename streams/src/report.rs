//! What `nats stream report` and `nats consumer report` show, for those who do not have the NATS CLI.

use std::time::Duration;

use serde::Serialize;

use crate::{error::QueueError, nats::Nats, subject::TaskSubject};

/// One stream, as `nats stream report` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamRow {
    /// Its name.
    pub stream: String,
    /// `file` or `memory`.
    pub storage: String,
    /// Consumers.
    pub consumers: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
    /// Messages known to be lost.
    pub lost: u64,
    /// Messages deleted from the middle.
    pub deleted: u64,
    /// Copies.
    pub replicas: u64,
}

/// One consumer, as `nats consumer report` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsumerRow {
    /// Its stream.
    pub stream: String,
    /// Its name: the class, or the class and the place.
    pub consumer: String,
    /// How long a task may be silent.
    pub ack_wait: Duration,
    /// Running: delivered and not acknowledged.
    pub ack_pending: u64,
    /// Delivered more than once.
    pub redelivered: u64,
    /// Queued: not delivered yet.
    pub unprocessed: u64,
    /// Pulls that wait: idle slots.
    pub waiting: u64,
    /// Everything up to this sequence is acknowledged.
    pub ack_floor: u64,
}

/// Every stream, by name.
pub async fn stream_report(nats: &Nats) -> Result<Vec<StreamRow>, QueueError> {
    let _ = nats;
    todo!()
}

/// Every consumer of a stream, by name.
pub async fn consumer_report(nats: &Nats, stream: &str) -> Result<Vec<ConsumerRow>, QueueError> {
    let _ = (nats, stream);
    todo!()
}

/// Every open pointer in `TASKS`: what `nats stream subjects TASKS` lists.
pub async fn task_pointers(nats: &Nats) -> Result<Vec<TaskSubject>, QueueError> {
    let _ = nats;
    todo!()
}
