//! One request, one answer: how this crate speaks to JetStream.
//!
//! The client library sorts the server's errors into kinds and drops what does not fit (10164 becomes "other", a
//! refused permission becomes a time-out). Here the server's code and words are kept.

use std::time::Duration;

use async_nats::{HeaderMap, client::RequestErrorKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    error::QueueError,
    nats::{Link, Nats, Server},
};

/// How long one request may take.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How long a call of the JetStream API is tried while no leader answers: an election takes 5 to 7 s.
pub(crate) const API_LIMIT: Duration = Duration::from_secs(15);
/// How long a message is offered for storing: an election, and the client's way back to a server.
const STORE_LIMIT: Duration = Duration::from_secs(30);
/// Pause between tries.
pub(crate) const RETRY_EVERY: Duration = Duration::from_millis(250);
/// The code of refusals, as in HTTP, that pass by themselves.
pub(crate) const PASSES: usize = 503;

/// JetStream error: the expected last sequence is not the last one.
pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10071;
/// JetStream error: the same, from a replica that cannot tell what the last one is. Answered to sole owners too.
pub(crate) const WRONG_LAST_SEQUENCE_UNSURE: u64 = 10164;
/// JetStream error: storing failed, for the reason in its description.
const STORE_FAILED: u64 = 10077;
const STREAM_NOT_FOUND: u64 = 10059;
const CONSUMER_NOT_FOUND: u64 = 10014;
/// JetStream error: nothing was ever stored under this subject, or it is gone.
pub(crate) const MESSAGE_NOT_FOUND: u64 = 10037;

/// The server's refusal.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusal {
    /// As HTTP.
    #[serde(default)]
    code: usize,
    /// Which error.
    #[serde(default)]
    err_code: u64,
    /// In words.
    #[serde(default)]
    description: String,
}

impl Refusal {
    fn passes(&self) -> bool {
        self.code == PASSES
    }

    /// The error for a caller who asked for `what`.
    fn into_error(self, what: &str) -> QueueError {
        match self.err_code {
            STREAM_NOT_FOUND | CONSUMER_NOT_FOUND => QueueError::Missing { what: what.to_owned() },
            code => QueueError::Refused { what: what.to_owned(), code, description: self.description },
        }
    }
}

/// A question without parameters. The server refuses `null`.
#[derive(Serialize)]
pub(crate) struct Plain {}

/// Every answer of JetStream: a refusal or a body.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Refused { error: Refusal },
    Done(T),
}

#[derive(Deserialize)]
struct PubAck {
    seq: u64,
}

fn parse<T: DeserializeOwned>(what: &str, payload: &[u8]) -> Result<Answer<T>, QueueError> {
    serde_json::from_slice(payload)
        .map_err(|source| QueueError::Client { what: what.to_owned(), source: source.into() })
}

impl Nats {
    /// Sends a request and waits for its answer.
    pub(crate) async fn request(
        &self,
        what: &str,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<async_nats::Message, QueueError> {
        match self.link() {
            Link::Server(server) => server.request(what, subject, headers, payload, limit).await,
            #[cfg(feature = "model")]
            Link::Model(model) => model.request(what, subject, headers, payload, limit).await,
        }
    }

    /// Waits until the server has seen everything this connection sent before. (The library's `flush` only empties
    /// its buffer.)
    pub(crate) async fn round_trip(&self) {
        let nobody = match self.link() {
            Link::Server(server) => server.client.new_inbox(),
            #[cfg(feature = "model")]
            Link::Model(_) => "_INBOX.nobody".to_owned(),
        };
        // Any answer will do: the one that comes is "nobody is there".
        drop(self.request("wait for the server", &nobody, None, Bytes::new(), REQUEST_LIMIT).await);
    }

    /// Calls `$JS.API.<verb>`, waiting out an election.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        what: &str,
        verb: &str,
        body: &impl Serialize,
    ) -> Result<T, QueueError> {
        self.api_within(what, verb, body, REQUEST_LIMIT).await
    }

    /// The same for a call that the server may work on for as long as `limit` before it answers.
    pub(crate) async fn api_within<T: DeserializeOwned>(
        &self,
        what: &str,
        verb: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<T, QueueError> {
        let malformed = |source: serde_json::Error| QueueError::Client { what: what.to_owned(), source: source.into() };
        let payload: Bytes = serde_json::to_vec(body).map_err(malformed)?.into();
        let subject = format!("$JS.API.{verb}");
        let started = Instant::now();
        loop {
            let error = match self.request(what, &subject, None, payload.clone(), limit).await {
                Ok(message) => match parse(what, &message.payload)? {
                    Answer::Done(body) => return Ok(body),
                    Answer::Refused { error } if error.passes() => error.into_error(what),
                    Answer::Refused { error } => return Err(error.into_error(what)),
                },
                Err(error) if error.may_pass() => error,
                Err(error) => return Err(error),
            };
            if started.elapsed() + RETRY_EVERY > API_LIMIT {
                return Err(error);
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// Offers a message for storing, once.
    pub(crate) async fn store_once(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<u64, StoreError> {
        let what = format!("publish {subject}");
        let message = self.request(&what, subject, headers, payload, REQUEST_LIMIT).await?;
        match parse::<PubAck>(&what, &message.payload)? {
            Answer::Done(ack) => Ok(ack.seq),
            Answer::Refused { error } => Err(StoreError::of(error, &what)),
        }
    }

    /// Offers a message until it is stored. Only for messages that may be stored twice.
    pub(crate) async fn store(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<u64, StoreError> {
        let started = Instant::now();
        loop {
            let error = match self.store_once(subject, headers.clone(), payload.clone()).await {
                Err(StoreError::Passing(error)) => error,
                Err(StoreError::Queue(error @ QueueError::TimedOut { .. })) => error,
                done => return done,
            };
            if started.elapsed() + RETRY_EVERY > STORE_LIMIT {
                return Err(StoreError::Queue(error));
            }
            tracing::debug!(subject, error = %error, "offer the message again");
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }
}

impl Server {
    async fn request(
        &self,
        what: &str,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<async_nats::Message, QueueError> {
        let mut request = async_nats::Request::new().payload(payload).timeout(Some(limit));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let sent = self.client.send_request(subject.to_owned(), request);
        // A refused permission is told to the connection, not to the request, which would time out.
        let error = tokio::select! {
            biased;
            answer = sent => match answer {
                Ok(message) => return Ok(message),
                Err(error) => error,
            },
            description = self.refused_permission(subject) => {
                return Err(QueueError::NotPermitted { what: what.to_owned(), description });
            }
        };
        Err(match error.kind() {
            RequestErrorKind::NoResponders => QueueError::Unavailable { what: what.to_owned() },
            RequestErrorKind::TimedOut => QueueError::TimedOut { what: what.to_owned(), waited: limit },
            _ => QueueError::Client { what: what.to_owned(), source: error.into() },
        })
    }
}

/// A message that was not stored, or perhaps not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// An open message has the same subject, and the stream takes one.
    #[error("a message with this subject is open")]
    SubjectTaken,
    /// The expected last sequence is not the last one.
    #[error("the expected revision is not the last one")]
    WrongRevision,
    /// A replica cannot tell whether the expected revision is the last one.
    #[error("the server cannot tell the last revision")]
    RevisionUnsure,
    /// It was not stored, and may be offered again: no leader answers.
    #[error(transparent)]
    Passing(QueueError),
    /// It failed; after a time-out, whether it was stored is not known.
    #[error(transparent)]
    Queue(QueueError),
}

impl StoreError {
    fn of(refusal: Refusal, what: &str) -> Self {
        match refusal.err_code {
            // One code covers every failure to store (a full disk too): only the words tell them apart.
            STORE_FAILED if refusal.description.contains("maximum messages per subject") => Self::SubjectTaken,
            WRONG_LAST_SEQUENCE => Self::WrongRevision,
            WRONG_LAST_SEQUENCE_UNSURE => Self::RevisionUnsure,
            _ if refusal.passes() => Self::Passing(refusal.into_error(what)),
            _ => Self::Queue(refusal.into_error(what)),
        }
    }

    /// As an error of the queue, for callers that expect none of the others.
    pub(crate) fn into_queue(self, what: &str) -> QueueError {
        match self {
            Self::Passing(error) | Self::Queue(error) => error,
            other => QueueError::Client { what: what.to_owned(), source: other.into() },
        }
    }
}

impl From<QueueError> for StoreError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unavailable { .. } => Self::Passing(error),
            _ => Self::Queue(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusal, StoreError};

    fn refusal(err_code: u64, description: &str) -> StoreError {
        StoreError::of(Refusal { code: 400, err_code, description: description.to_owned() }, "publish x")
    }

    #[test]
    fn only_an_open_pointer_counts_as_already_queued() {
        assert!(matches!(refusal(10077, "maximum messages per subject exceeded"), StoreError::SubjectTaken));
        assert!(matches!(refusal(10077, "no space left on device"), StoreError::Queue(_)));
        assert!(matches!(refusal(10077, "maximum bytes exceeded"), StoreError::Queue(_)));
    }

    #[test]
    fn lost_and_unsure_revisions_are_told_apart() {
        assert!(matches!(refusal(10071, "wrong last sequence: 7"), StoreError::WrongRevision));
        assert!(matches!(refusal(10164, "wrong last sequence"), StoreError::RevisionUnsure));
    }
}
