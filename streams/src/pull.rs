//! Taking one message at a time from a work queue.
//!
//! A pull asks for one message on an inbox that the server itself closes after one message: no pull can ever hold
//! two. It is asked again whenever the connection comes back, since a restarted server has forgotten it.

use std::time::Duration;

use async_nats::{StatusCode, jetstream::consumer};
use futures::StreamExt as _;
use serde::Serialize;
use tokio::time::Instant;

pub use crate::delivery::Delivery;
use crate::{
    error::QueueError,
    layout,
    nats::{Link, Nats, Server},
    request::Plain,
    stage::Class,
    subject::Whither,
};

/// The longest a single pull waits at the server. A consumer's leader can die without the connection noticing, and
/// then nothing comes until the pull is asked again.
const PULL_LIMIT: Duration = Duration::from_secs(10);
/// How much later than the server we give up on a pull by ourselves.
const PULL_SLACK: Duration = Duration::from_secs(2);
/// Pause after a pull that ended for a reason that passes.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Takes tasks of one class at one place.
#[derive(Debug, Clone)]
pub struct Puller {
    queue: Queue,
    ack_wait: Duration,
}

impl Puller {
    /// Opens the class's consumer, which must exist.
    pub async fn open(nats: &Nats, class: Class, whither: &Whither) -> Result<Self, QueueError> {
        let queue = Queue::new(nats, layout::task_stream(class), layout::consumer_name(class, whither));
        let ack_wait = queue.info().await?.config.ack_wait;
        Ok(Self { queue, ack_wait })
    }

    /// How long a task may be silent before another agent gets it: say [`Delivery::progress`] every quarter of it.
    #[must_use]
    pub fn ack_wait(&self) -> Duration {
        self.ack_wait
    }

    /// Waits up to `wait` for one task. Asks for one message, never for a second.
    ///
    /// Dropping the future gives the pull up. A task that was on its way at that moment comes back after `ack_wait`.
    pub async fn next(&self, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        self.queue.next(wait).await
    }
}

/// Takes results: the coordinator from `RESULTS`, the poster from `POST_RESULTS`.
#[derive(Debug, Clone)]
pub struct Intake {
    queue: Queue,
}

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
        Self::open(nats, layout::RESULTS, layout::COORDINATOR).await
    }

    /// PoSt results, for the poster.
    pub async fn post_results(nats: &Nats) -> Result<Self, QueueError> {
        Self::open(nats, layout::POST_RESULTS, layout::POSTER).await
    }

    async fn open(nats: &Nats, stream: &'static str, consumer: &str) -> Result<Self, QueueError> {
        let queue = Queue::new(nats, stream, consumer.to_owned());
        queue.info().await?;
        Ok(Self { queue })
    }

    /// Waits up to `wait` for one result.
    pub async fn next(&self, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        self.queue.next(wait).await
    }

    /// What is not finished yet.
    pub async fn backlog(&self) -> Result<Backlog, QueueError> {
        // The stream first: what is stored in between is then pending, and never looks finished.
        let stream = layout::stream_info(&self.queue.nats, self.queue.stream).await?;
        let consumer = self.queue.info().await?;
        Ok(Backlog {
            pending: consumer.num_pending,
            unacked: u64::try_from(consumer.num_ack_pending).unwrap_or(u64::MAX),
            last_sequence: stream.state.last_sequence,
            acked_through: consumer.ack_floor.stream_sequence,
        })
    }
}

/// One durable consumer of one stream.
#[derive(Debug, Clone)]
struct Queue {
    nats: Nats,
    stream: &'static str,
    consumer: String,
    pull_subject: String,
}

/// `$JS.API.CONSUMER.MSG.NEXT`: one message, no heartbeat (the library's loses a wake-up with one).
#[derive(Serialize)]
struct PullRequest {
    batch: u8,
    expires: u64,
}

/// How a pull ended.
enum Pulled {
    Message(async_nats::Message),
    Nothing,
    /// It ended early for a reason that passes: a leader changed, a connection came back.
    Interrupted,
}

impl Queue {
    fn new(nats: &Nats, stream: &'static str, consumer: String) -> Self {
        let pull_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        Self { nats: nats.clone(), stream, consumer, pull_subject }
    }

    fn what(&self) -> String {
        format!("consumer {} of stream {}", self.consumer, self.stream)
    }

    async fn info(&self) -> Result<consumer::Info, QueueError> {
        self.nats.api(&self.what(), &format!("CONSUMER.INFO.{}.{}", self.stream, self.consumer), &Plain {}).await
    }

    async fn next(&self, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.pull(left.min(PULL_LIMIT)).await? {
                Pulled::Message(message) => return Delivery::new(&self.nats, message).map(Some),
                Pulled::Nothing if Instant::now() < deadline => {}
                Pulled::Interrupted if Instant::now() + RETRY_EVERY < deadline => tokio::time::sleep(RETRY_EVERY).await,
                Pulled::Nothing | Pulled::Interrupted => return Ok(None),
            }
        }
    }

    async fn pull(&self, wait: Duration) -> Result<Pulled, QueueError> {
        match self.nats.link() {
            Link::Server(server) => self.pull_from(server, wait).await,
            #[cfg(feature = "model")]
            Link::Model(model) => Ok(match model.pull(self.stream, &self.consumer, wait, PULL_SLACK).await? {
                (Some(message), _) => Pulled::Message(message),
                (None, true) => Pulled::Interrupted,
                (None, false) => Pulled::Nothing,
            }),
        }
    }

    async fn pull_from(&self, server: &Server, wait: Duration) -> Result<Pulled, QueueError> {
        let client = &server.client;
        let failed = |source| QueueError::Client { what: format!("pull from {}", self.what()), source };
        let mut connections = server.connections();
        connections.mark_unchanged();

        let inbox = client.new_inbox();
        let mut replies = client.subscribe(inbox.clone()).await.map_err(|e| failed(e.into()))?;
        replies.unsubscribe_after(1).await.map_err(|e| failed(e.into()))?;
        let expires = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).max(1);
        let request = serde_json::to_vec(&PullRequest { batch: 1, expires }).map_err(|e| failed(e.into()))?;
        let sent = client.publish_with_reply(self.pull_subject.clone(), inbox, request.into()).await;
        sent.map_err(|e| failed(e.into()))?;

        tokio::select! {
            // A message that is here counts, whatever else happened meanwhile.
            biased;
            reply = replies.next() => match reply {
                Some(message) => self.judge(message),
                None => Ok(Pulled::Interrupted),
            },
            description = server.refused_permission(&self.pull_subject) => {
                Err(QueueError::NotPermitted { what: format!("pull from {}", self.what()), description })
            }
            _ = connections.changed() => Ok(Pulled::Interrupted),
            () = tokio::time::sleep(wait + PULL_SLACK) => Ok(Pulled::Nothing),
        }
    }

    /// Reads a reply: a message, or a status that ends the pull.
    fn judge(&self, message: async_nats::Message) -> Result<Pulled, QueueError> {
        let Some(status) = message.status else { return Ok(Pulled::Message(message)) };
        let words = message.description.as_deref().unwrap_or_default();
        match status {
            StatusCode::OK => Ok(Pulled::Message(message)),
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => Ok(Pulled::Nothing),
            StatusCode::NO_RESPONDERS => Ok(Pulled::Interrupted),
            _ if words.contains("Consumer Deleted") => Err(QueueError::Missing { what: self.what() }),
            _ if words.contains("Leadership Change") || words.contains("Server Shutdown") => Ok(Pulled::Interrupted),
            _ => Err(QueueError::Refused {
                what: format!("pull from {}", self.what()),
                code: u64::from(status.as_u16()),
                description: words.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Backlog;

    #[test]
    fn a_backlog_is_drained_when_nothing_is_left_or_everything_before_is_acknowledged() {
        let idle = Backlog { pending: 0, unacked: 0, last_sequence: 9, acked_through: 0 };
        assert!(idle.is_drained_to(9));
        let busy = Backlog { pending: 2, unacked: 1, last_sequence: 12, acked_through: 9 };
        assert!(busy.is_drained_to(9));
        assert!(!busy.is_drained_to(10));
    }
}
