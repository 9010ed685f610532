//! A message that is ours until it is acknowledged.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    error::QueueError,
    message::{Text, decode},
    nats::Nats,
};

/// How long one acknowledgement may take before it is sent again.
const ACK_TRY: Duration = Duration::from_secs(5);
/// How long an acknowledgement is tried: longer than an election (7 s) and the way back to a server (4 s).
const ACK_LIMIT: Duration = Duration::from_secs(30);
/// Pause between tries.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// A message that is ours until it is acknowledged, or silent for `ack_wait`.
///
/// JetStream does not fence: acknowledging a message that has since gone to another agent deletes it, and says that
/// all is well. What is true is what the records say; the reconciler repairs the rest.
#[derive(Debug)]
pub struct Delivery {
    nats: Nats,
    subject: String,
    payload: Bytes,
    reply: String,
    sequence: u64,
    delivered: u64,
}

impl Delivery {
    pub(crate) fn new(nats: &Nats, message: async_nats::Message) -> Result<Self, QueueError> {
        let unreadable = |source: crate::error::Cause| QueueError::Client {
            what: "read a delivery's reply subject".to_owned(),
            source,
        };
        let async_nats::Message { subject, payload, reply, .. } = message;
        let reply = reply.map(|subject| subject.to_string()).unwrap_or_default();
        let counts = counts(&reply).ok_or_else(|| unreadable(format!("{reply} is not one").into()));
        let (delivered, sequence) = counts?;
        Ok(Self { nats: nats.clone(), subject: subject.to_string(), payload, reply, sequence, delivered })
    }

    /// Its subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its text.
    pub fn decode<T: Text>(&self) -> Result<T, QueueError> {
        decode(&self.payload).map_err(|source| QueueError::Text { what: self.subject.clone(), source })
    }

    /// Its sequence in the stream.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How often it was delivered, this time included.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Says that the work goes on: the message stays ours for another `ack_wait`.
    pub async fn progress(&self) -> Result<(), QueueError> {
        self.ask("+WPI".into(), ACK_TRY).await
    }

    /// Acknowledges: returns once the server confirmed that the message is gone.
    ///
    /// A server that was killed may have forgotten its last deliveries: it keeps the messages and delivers them
    /// again. Nobody then confirms this acknowledgement, and the error after half a minute does no harm: whoever gets
    /// the message next finds its work done.
    pub async fn ack(&self) -> Result<(), QueueError> {
        self.settle("+ACK".into()).await
    }

    /// Gives it back, at once or after a delay.
    pub async fn nak(&self, delay: Option<Duration>) -> Result<(), QueueError> {
        let verdict = match delay {
            None => "-NAK".to_owned(),
            Some(delay) => format!(r#"-NAK {{"delay":{}}}"#, delay.as_nanos()),
        };
        self.settle(verdict.into()).await
    }

    /// Removes it for good, with a reason that appears in the server's advisory.
    pub async fn term(&self, reason: &str) -> Result<(), QueueError> {
        self.settle(format!("+TERM {reason}").into()).await
    }

    /// Sends a verdict until the server confirms it. A mere publish is lost with a consumer's leader, and the
    /// library's `double_ack` takes "nobody is there" for a yes.
    async fn settle(&self, verdict: Bytes) -> Result<(), QueueError> {
        let started = Instant::now();
        loop {
            match self.ask(verdict.clone(), ACK_TRY).await {
                Err(error) if error.may_pass() => {
                    if started.elapsed() + RETRY_EVERY > ACK_LIMIT {
                        return Err(error);
                    }
                    tracing::debug!(subject = self.subject, error = %error, "acknowledge again");
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                done => return done,
            }
        }
    }

    async fn ask(&self, verdict: Bytes, limit: Duration) -> Result<(), QueueError> {
        let what = format!("acknowledge {}", self.subject);
        self.nats.request(&what, &self.reply, None, verdict, limit).await.map(drop)
    }
}

/// How often, and under which sequence: what a reply subject says, in its old form of nine tokens or in the new one
/// with domain and account before the stream.
fn counts(reply: &str) -> Option<(u64, u64)> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let names = if tokens.len() >= 9 { 4 } else { 2 };
    let number = |index: usize| tokens.get(index).and_then(|token| token.parse().ok());
    Some((number(names)?, number(names + 1)?))
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn both_forms_of_a_reply_subject_are_read() {
        assert_eq!(counts("$JS.ACK.TASKS.c2-gpu.3.17.20.1700000000000000000.0"), Some((3, 17)));
        assert_eq!(counts("$JS.ACK._.HASH.TASKS.c2-gpu.3.17.20.1700000000000000000.0.r"), Some((3, 17)));
        assert_eq!(counts("$JS.ACK.TASKS.c2-gpu"), None);
        assert_eq!(counts("_INBOX.x"), None);
    }
}
