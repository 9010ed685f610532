//! Core request-reply on `ctl.…` subjects.

use std::time::Duration;

use serde::Serialize;

use crate::{error::QueueError, message::Text};

/// A request that was not answered with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The daemon refused, in words for a person.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// No daemon listens on the subject.
    #[error("nobody answers on {subject}")]
    NobodyAnswers {
        /// The subject.
        subject: String,
    },
    /// A daemon listens and did not answer in time.
    #[error("no answer on {subject} within {waited:?}")]
    TimedOut {
        /// The subject.
        subject: String,
        /// The limit.
        waited: Duration,
    },
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl AskError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. } => hint.clone(),
            Self::NobodyAnswers { .. } => Some("is the coordinator running? `coordinator run`".to_owned()),
            Self::TimedOut { .. } => None,
            Self::Queue(error) => error.hint(),
        }
    }
}

/// Incoming requests.
#[derive(Debug)]
pub struct Calls {}

impl Calls {
    /// The next request; `None` once the connection is closed for good.
    pub async fn next(&mut self) -> Option<Call> {
        todo!()
    }
}

/// One incoming request. It must be answered or refused: dropped, the caller waits for its time-out.
#[derive(Debug)]
pub struct Call {}

impl Call {
    /// The last token of the subject.
    #[must_use]
    pub fn verb(&self) -> &str {
        todo!()
    }

    /// Reads the request.
    pub fn decode<R: Text>(&self) -> Result<R, QueueError> {
        todo!()
    }

    /// Answers it.
    pub async fn answer<A: Serialize>(self, answer: &A) -> Result<(), QueueError> {
        let _ = answer;
        todo!()
    }

    /// Refuses it, in words for a person.
    pub async fn refuse(self, message: &str, hint: Option<&str>) -> Result<(), QueueError> {
        let _ = (message, hint);
        todo!()
    }
}
