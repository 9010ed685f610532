//! Taking one message at a time from a work queue.

use std::time::Duration;

use crate::{error::QueueError, nats::Nats, stage::Class, subject::Whither};

/// Takes tasks of one class at one place.
#[derive(Debug, Clone)]
pub struct Puller {}

impl Puller {
    /// Opens the class's consumer, which must exist.
    pub async fn open(nats: &Nats, class: Class, whither: &Whither) -> Result<Self, QueueError> {
        let _ = (nats, class, whither);
        todo!()
    }

    /// How long a task may be silent before another agent gets it: say [`Delivery::progress`] every quarter of it.
    #[must_use]
    pub fn ack_wait(&self) -> Duration {
        todo!()
    }

    /// Waits up to `wait` for one task. Asks for one message, never for a second.
    pub async fn next(&self, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        let _ = wait;
        todo!()
    }
}

/// A message that is ours until it is acknowledged, or silent for `ack_wait`.
#[derive(Debug)]
pub struct Delivery {}

impl Delivery {
    /// Its subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        todo!()
    }

    /// Its bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        todo!()
    }

    /// Its sequence in the stream.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        todo!()
    }

    /// How often it was delivered, this time included.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        todo!()
    }

    /// Says that the work goes on: the message stays ours for another `ack_wait`.
    pub async fn progress(&self) -> Result<(), QueueError> {
        todo!()
    }

    /// Acknowledges: returns once the server confirmed that the message is gone.
    pub async fn ack(&self) -> Result<(), QueueError> {
        todo!()
    }

    /// Gives it back, at once or after a delay.
    pub async fn nak(&self, delay: Option<Duration>) -> Result<(), QueueError> {
        let _ = delay;
        todo!()
    }

    /// Removes it for good, with a reason that appears in the server's advisory.
    pub async fn term(&self, reason: &str) -> Result<(), QueueError> {
        let _ = reason;
        todo!()
    }
}

/// Takes results: the coordinator from `RESULTS`, the poster from `POST_RESULTS`.
#[derive(Debug, Clone)]
pub struct Intake {}

/// What an intake has not finished yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Messages not delivered yet.
    pub pending: u64,
    /// Messages delivered and not acknowledged.
    pub unacked: u64,
    /// The stream's last sequence.
    pub last_sequence: u64,
    /// Every message up to this sequence is acknowledged.
    pub acked_through: u64,
}

impl Backlog {
    /// Whether every message up to `sequence` has been dealt with.
    #[must_use]
    pub const fn is_drained_to(&self, sequence: u64) -> bool {
        self.acked_through >= sequence || (self.pending == 0 && self.unacked == 0)
    }
}

impl Intake {
    /// Sealing results, for the leading coordinator.
    pub async fn results(nats: &Nats) -> Result<Self, QueueError> {
        let _ = nats;
        todo!()
    }

    /// PoSt results, for the poster.
    pub async fn post_results(nats: &Nats) -> Result<Self, QueueError> {
        let _ = nats;
        todo!()
    }

    /// Waits up to `wait` for one result.
    pub async fn next(&self, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        let _ = wait;
        todo!()
    }

    /// What is not finished yet.
    pub async fn backlog(&self) -> Result<Backlog, QueueError> {
        todo!()
    }
}
