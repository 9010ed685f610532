//! Core request-reply on `ctl.…` subjects: [`Nats::ask`] and [`Nats::serve`].
//!
//! Whoever serves is also a NATS micro service, so that `nats micro ls` lists every daemon that answers and
//! `nats micro stats` counts its requests.

use std::{collections::HashMap, fmt, time::Duration};

use async_nats::service::{Service, ServiceExt as _, endpoint::Endpoint};
use futures::StreamExt as _;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    control::{AgentRequest, CoordinatorRequest, Reply},
    error::QueueError,
    id::AgentId,
    message::{Text, decode},
    nats::{Link, Nats, Server, text},
    subject::ControlSubject,
};

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
            Self::NobodyAnswers { .. } => Some("no daemon answers there: start one with `coordinator run`".to_owned()),
            Self::TimedOut { .. } => Some("a daemon listens there but is busy: look at its log".to_owned()),
            Self::Queue(error) => error.hint(),
        }
    }
}

impl Nats {
    /// Asks the leading coordinator.
    pub async fn ask<R: CoordinatorRequest>(&self, request: &R, timeout: Duration) -> Result<R::Answer, AskError> {
        let subject = ControlSubject::Coordinator(R::VERB.to_owned()).to_string();
        self.ask_on(subject, request, timeout).await
    }

    /// Asks one agent.
    pub async fn ask_agent<R: AgentRequest>(
        &self,
        agent: &AgentId,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Answer, AskError> {
        let subject = ControlSubject::Agent(agent.clone(), R::VERB.to_owned()).to_string();
        self.ask_on(subject, request, timeout).await
    }

    async fn ask_on<R: Text, A: DeserializeOwned>(
        &self,
        subject: String,
        request: &R,
        timeout: Duration,
    ) -> Result<A, AskError> {
        let payload = text(&subject, request)?;
        let reply = self.request(&subject, &subject, None, payload, timeout).await.map_err(|error| match error {
            QueueError::Unavailable { .. } => AskError::NobodyAnswers { subject: subject.clone() },
            QueueError::TimedOut { .. } => AskError::TimedOut { subject: subject.clone(), waited: timeout },
            other => AskError::Queue(other),
        })?;
        match serde_json::from_slice(&reply.payload) {
            Ok(Reply::Answer { answer }) => Ok(answer),
            Ok(Reply::Refused { message, hint }) => Err(AskError::Refused { message, hint }),
            Err(source) => {
                Err(QueueError::Client { what: format!("read the answer on {subject}"), source: source.into() }.into())
            }
        }
    }

    /// Answers requests on a subject such as `ctl.coordinator.*` for as long as the [`Calls`] are kept.
    pub async fn serve(&self, subject_wildcard: &str) -> Result<Calls, QueueError> {
        let incoming = match self.link() {
            Link::Server(server) => server.serve(subject_wildcard).await?,
            #[cfg(feature = "model")]
            Link::Model(model) => Incoming::Model(model.serve(subject_wildcard)),
        };
        // Requests sent from here on find us, even before the first `next`.
        self.round_trip().await;
        Ok(Calls { nats: self.clone(), incoming })
    }
}

impl Server {
    async fn serve(&self, subject_wildcard: &str) -> Result<Incoming, QueueError> {
        let client = |source| QueueError::Client { what: format!("serve {subject_wildcard}"), source };
        let mut tokens = subject_wildcard.split('.').skip(1);
        let daemon = tokens.next().unwrap_or("daemon");
        let mut metadata = HashMap::new();
        if let ("agent", Some(agent)) = (daemon, tokens.next()) {
            metadata.insert("agent".to_owned(), agent.to_owned());
        }
        let service = self
            .client
            .service_builder()
            .description("Sealstream: commands and questions")
            .metadata(metadata)
            .start(format!("sealstream-{daemon}"), env!("CARGO_PKG_VERSION"))
            .await
            .map_err(client)?;
        let endpoint = service.endpoint_builder().name("requests").add(subject_wildcard).await.map_err(client)?;
        Ok(Incoming::Server { endpoint: Box::new(endpoint), service: Box::new(service) })
    }
}

/// Incoming requests.
pub struct Calls {
    nats: Nats,
    incoming: Incoming,
}

/// Where they come from.
enum Incoming {
    Server {
        endpoint: Box<Endpoint>,
        service: Box<Service>,
    },
    #[cfg(feature = "model")]
    Model(crate::model::Subscription),
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    /// The next request; `None` once the connection is closed for good.
    pub async fn next(&mut self) -> Option<Call> {
        match &mut self.incoming {
            Incoming::Server { endpoint, .. } => {
                endpoint.next().await.map(|request| Call { request: Request::Server(Box::new(request)) })
            }
            #[cfg(feature = "model")]
            Incoming::Model(calls) => calls.next().await.map(|request| Call { request: Request::Model(request) }),
        }
    }

    /// Stops answering: the next who asks finds another daemon, or hears at once that there is none.
    pub async fn close(self) {
        let Self { nats, incoming } = self;
        match incoming {
            Incoming::Server { mut endpoint, service } => {
                // Both only tell tasks of this process, and those are gone if it fails. (Dropping the endpoint would
                // unsubscribe too, but later.)
                drop(endpoint.stop().await);
                drop(service.stop().await);
            }
            #[cfg(feature = "model")]
            Incoming::Model(calls) => drop(calls),
        }
        nats.round_trip().await;
    }
}

/// One incoming request. It must be answered or refused: dropped, the caller waits for its time-out.
#[must_use = "a request that is dropped leaves its caller waiting"]
#[derive(Debug)]
pub struct Call {
    request: Request,
}

#[derive(Debug)]
enum Request {
    Server(Box<async_nats::service::Request>),
    #[cfg(feature = "model")]
    Model(crate::model::Incoming),
}

impl Request {
    fn subject(&self) -> &str {
        match self {
            Self::Server(request) => &request.message.subject,
            #[cfg(feature = "model")]
            Self::Model(request) => request.subject(),
        }
    }

    fn payload(&self) -> &[u8] {
        match self {
            Self::Server(request) => &request.message.payload,
            #[cfg(feature = "model")]
            Self::Model(request) => request.payload(),
        }
    }
}

impl Call {
    /// The last token of the subject.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.request.subject().rsplit('.').next().unwrap_or_default()
    }

    /// Reads the request.
    pub fn decode<R: Text>(&self) -> Result<R, QueueError> {
        let what = || self.request.subject().to_owned();
        decode(self.request.payload()).map_err(|source| QueueError::Text { what: what(), source })
    }

    /// Answers it.
    pub async fn answer<A: Serialize>(self, answer: &A) -> Result<(), QueueError> {
        self.reply(&Reply::Answer { answer }).await
    }

    /// Refuses it, in words for a person.
    pub async fn refuse(self, message: &str, hint: Option<&str>) -> Result<(), QueueError> {
        self.reply(&Reply::<()>::Refused { message: message.to_owned(), hint: hint.map(str::to_owned) }).await
    }

    async fn reply<A: Serialize>(self, reply: &Reply<A>) -> Result<(), QueueError> {
        let subject = self.request.subject().to_owned();
        let what = || format!("answer {subject}");
        let bytes =
            serde_json::to_vec(reply).map_err(|source| QueueError::Client { what: what(), source: source.into() })?;
        let sent = match self.request {
            Request::Server(request) => request.respond(Ok(bytes.into())).await,
            #[cfg(feature = "model")]
            Request::Model(request) => {
                request.respond(bytes.into()).await;
                Ok(())
            }
        };
        sent.map_err(|source| QueueError::Client { what: what(), source: source.into() })
    }
}
