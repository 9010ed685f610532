//! The connection, and everything that is published through it.

use std::time::Duration;

use async_nats::{ConnectOptions, Event, HeaderMap, ServerError};
use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    error::QueueError,
    message::{PostResult, PostTask, SectorEvent, Task, TaskResult, Text, encode},
    request::StoreError,
    server::check_version,
    subject::{EventSubject, PostResultSubject, PostSubject, ResultSubject, TaskSubject},
};

/// How to reach the queue.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// `nats://127.0.0.1:4222`; several servers of one cluster are separated by commas.
    pub url: String,
    /// What the connection is called in `nats server report connections`.
    pub name: String,
    /// How long the first connection may take.
    pub connect_timeout: Duration,
}

/// A connection to the queue, cheap to clone. Once made, it comes back by itself after an outage.
#[derive(Debug, Clone)]
pub struct Nats {
    link: Link,
}

/// What is at the other end.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// A server.
    Server(Box<Server>),
    /// A model of one, within this process.
    #[cfg(feature = "model")]
    Model(crate::model::Connection),
}

/// A connection to a server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: async_nats::jetstream::Context,
    connections: watch::Receiver<u64>,
    refusals: watch::Receiver<String>,
}

/// What became of a published pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is stored.
    New {
        /// Its sequence in the stream.
        sequence: u64,
    },
    /// An open pointer has the same subject: nothing was stored, and nothing needed to be.
    AlreadyQueued,
}

/// The header that lets a message disappear by itself, in whole seconds.
pub(crate) const TTL_HEADER: &str = "Nats-TTL";

/// A time to live as the server reads it: whole seconds, at least one.
pub(crate) fn ttl_seconds(ttl: Duration) -> String {
    let seconds = if ttl.subsec_nanos() == 0 { ttl.as_secs() } else { ttl.as_secs().saturating_add(1) };
    seconds.max(1).to_string()
}

impl Nats {
    /// Connects, and refuses a server that would lose or misread what it is given.
    pub async fn connect(config: &NatsConfig) -> Result<Self, QueueError> {
        let url = || config.url.clone();
        let bad_url = |source: std::io::Error| QueueError::BadUrl { url: url(), source: source.into() };
        let servers =
            config.url.split(',').map(|one| one.trim().parse()).collect::<Result<Vec<async_nats::ServerAddr>, _>>();
        let (connected, connections) = watch::channel(0);
        let (refused, refusals) = watch::channel(String::new());
        let name = config.name.clone();
        let connecting = ConnectOptions::new()
            .name(&config.name)
            .connection_timeout(config.connect_timeout)
            .event_callback(move |event| {
                note(&name, event, &connected, &refused);
                std::future::ready(())
            })
            .connect(servers.map_err(bad_url)?);
        let client = tokio::time::timeout(config.connect_timeout, connecting)
            .await
            .map_err(|elapsed| QueueError::Unreachable { url: url(), source: elapsed.into() })?
            .map_err(|error| QueueError::Unreachable { url: url(), source: error.into() })?;
        let server = client.server_info();
        check_version(&server.version).map_err(|found| QueueError::ServerTooOld { url: url(), found })?;
        if !server.jetstream {
            return Err(QueueError::NoJetStream { url: url() });
        }
        let jetstream = async_nats::jetstream::new(client.clone());
        Ok(Self { link: Link::Server(Box::new(Server { client, jetstream, connections, refusals })) })
    }

    /// A connection to a model of a server.
    #[cfg(feature = "model")]
    pub(crate) const fn over_model(connection: crate::model::Connection) -> Self {
        Self { link: Link::Model(connection) }
    }

    /// What is at the other end.
    pub(crate) const fn link(&self) -> &Link {
        &self.link
    }

    fn server(&self) -> &Server {
        match &self.link {
            Link::Server(server) => server,
            #[cfg(feature = "model")]
            #[expect(clippy::panic, reason = "only with the model, and only for what it does not model")]
            Link::Model(_) => panic!("a model of the queue has no client"),
        }
    }

    /// The client, for what has no wrapper here.
    #[must_use]
    pub fn client(&self) -> &async_nats::Client {
        &self.server().client
    }

    /// The JetStream context, for what has no wrapper here.
    #[must_use]
    pub fn jetstream(&self) -> &async_nats::jetstream::Context {
        &self.server().jetstream
    }

    /// Publishes a pointer to sealing work.
    ///
    /// It carries no `Nats-Msg-Id`: inside the duplicate window a second pointer would be answered "stored" and be
    /// stored nowhere, even after the first was acknowledged. The stream refuses a second *open* pointer instead.
    pub async fn publish_task(&self, subject: &TaskSubject, task: &Task) -> Result<Published, QueueError> {
        let subject = subject.to_string();
        self.publish_pointer(&subject, None, text(&subject, task)?).await
    }

    /// Publishes PoSt work that disappears by itself after `ttl`, so that yesterday's work never runs today.
    pub async fn publish_post_task(
        &self,
        subject: &PostSubject,
        task: &PostTask,
        ttl: Duration,
    ) -> Result<Published, QueueError> {
        let subject = subject.to_string();
        let mut headers = HeaderMap::new();
        headers.insert(TTL_HEADER, ttl_seconds(ttl));
        self.publish_pointer(&subject, Some(headers), text(&subject, task)?).await
    }

    async fn publish_pointer(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Published, QueueError> {
        match self.store(subject, headers, payload).await {
            Ok(sequence) => Ok(Published::New { sequence }),
            Err(StoreError::SubjectTaken) => Ok(Published::AlreadyQueued),
            Err(error) => Err(error.into_queue(&format!("publish {subject}"))),
        }
    }

    /// Publishes a result, returning once it is stored; an outage may have it stored twice.
    pub async fn publish_result(&self, result: &TaskResult) -> Result<(), QueueError> {
        let subject = ResultSubject { agent: result.agent.clone(), sector: result.sector };
        self.publish_text(&subject.to_string(), result).await
    }

    /// Publishes a PoSt result, returning once it is stored; an outage may have it stored twice.
    pub async fn publish_post_result(&self, result: &PostResult) -> Result<(), QueueError> {
        let PostResult { agent, miner, open, partition, .. } = result;
        let subject = PostResultSubject { agent: agent.clone(), miner: *miner, open: *open, partition: *partition };
        self.publish_text(&subject.to_string(), result).await
    }

    /// Publishes an event, returning once it is stored; its `seq` tells a second copy.
    pub async fn publish_event(&self, event: &SectorEvent) -> Result<(), QueueError> {
        let subject = EventSubject { sector: event.sector, what: event.state.clone() };
        self.publish_text(&subject.to_string(), event).await
    }

    async fn publish_text<T: Text>(&self, subject: &str, value: &T) -> Result<(), QueueError> {
        let stored = self.store(subject, None, text(subject, value)?).await;
        stored.map(drop).map_err(|error| error.into_queue(&format!("publish {subject}")))
    }
}

impl Server {
    /// Counts connections: a change says that a request that was waiting may have been forgotten.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        self.connections.clone()
    }

    /// Waits until the server says that this user may not use `subject`, and returns its words.
    pub(crate) async fn refused_permission(&self, subject: &str) -> String {
        let mut refusals = self.refusals.clone();
        refusals.mark_unchanged();
        let quoted = format!("\"{subject}\"");
        loop {
            if refusals.changed().await.is_err() {
                return std::future::pending().await;
            }
            let words = refusals.borrow_and_update();
            if words.contains(&quoted) {
                return words.clone();
            }
        }
    }
}

/// Encodes a text that goes to `what`.
pub(crate) fn text<T: Text>(what: &str, value: &T) -> Result<Bytes, QueueError> {
    encode(value).map_err(|source| QueueError::Text { what: what.to_owned(), source })
}

/// Notes what happened to the connection: permissions that were refused are told nowhere else.
fn note(name: &str, event: Event, connected: &watch::Sender<u64>, refused: &watch::Sender<String>) {
    match event {
        Event::Connected => {
            connected.send_modify(|count| *count = count.wrapping_add(1));
            if *connected.borrow() > 1 {
                tracing::info!(connection = name, "connected to NATS again");
            }
        }
        Event::Disconnected => tracing::warn!(connection = name, "lost the connection to NATS, trying again"),
        Event::ServerError(ServerError::Other(words)) => {
            tracing::warn!(connection = name, error = %words, "NATS refused something");
            refused.send_replace(words);
        }
        Event::ServerError(error) => tracing::warn!(connection = name, %error, "NATS refused something"),
        Event::ClientError(error) => tracing::warn!(connection = name, %error, "the connection to NATS failed"),
        Event::SlowConsumer(subscription) => {
            tracing::warn!(connection = name, subscription, "messages are dropped: this process reads too slowly");
        }
        other => tracing::debug!(connection = name, event = %other, "the connection to NATS changed"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ttl_seconds;

    #[test]
    fn a_time_to_live_is_never_rounded_to_for_ever() {
        assert_eq!(ttl_seconds(Duration::ZERO), "1");
        assert_eq!(ttl_seconds(Duration::from_millis(300)), "1");
        assert_eq!(ttl_seconds(Duration::from_millis(1500)), "2");
        assert_eq!(ttl_seconds(Duration::from_secs(60)), "60");
    }
}
