//! The connection, and everything that is published through it.

use std::time::Duration;

use crate::{
    call::{AskError, Calls},
    control::CoordinatorRequest,
    error::QueueError,
    message::{PostResult, PostTask, SectorEvent, Task, TaskResult},
    subject::{PostSubject, TaskSubject},
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

/// A connection to the queue, cheap to clone.
#[derive(Debug, Clone)]
pub struct Nats {
    client: async_nats::Client,
    jetstream: async_nats::jetstream::Context,
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

impl Nats {
    /// Connects, and refuses a server that would lose or misread what it is given.
    pub async fn connect(config: &NatsConfig) -> Result<Self, QueueError> {
        let _ = config;
        todo!()
    }

    /// The client, for what has no wrapper here.
    #[must_use]
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// The JetStream context, for what has no wrapper here.
    #[must_use]
    pub fn jetstream(&self) -> &async_nats::jetstream::Context {
        &self.jetstream
    }

    /// Publishes a pointer to sealing work.
    pub async fn publish_task(&self, subject: &TaskSubject, task: &Task) -> Result<Published, QueueError> {
        let _ = (subject, task);
        todo!()
    }

    /// Publishes PoSt work that disappears by itself after `ttl`.
    pub async fn publish_post_task(
        &self,
        subject: &PostSubject,
        task: &PostTask,
        ttl: Duration,
    ) -> Result<Published, QueueError> {
        let _ = (subject, task, ttl);
        todo!()
    }

    /// Publishes a result, returning once it is stored.
    pub async fn publish_result(&self, result: &TaskResult) -> Result<(), QueueError> {
        let _ = result;
        todo!()
    }

    /// Publishes a PoSt result, returning once it is stored.
    pub async fn publish_post_result(&self, result: &PostResult) -> Result<(), QueueError> {
        let _ = result;
        todo!()
    }

    /// Publishes an event, returning once it is stored.
    pub async fn publish_event(&self, event: &SectorEvent) -> Result<(), QueueError> {
        let _ = event;
        todo!()
    }

    /// Asks the leading coordinator.
    pub async fn ask<R: CoordinatorRequest>(&self, request: &R, timeout: Duration) -> Result<R::Answer, AskError> {
        let _ = (request, timeout);
        todo!()
    }

    /// Answers requests on a subject such as `ctl.coordinator.*`.
    pub async fn serve(&self, subject_wildcard: &str) -> Result<Calls, QueueError> {
        let _ = subject_wildcard;
        todo!()
    }
}
