//! What a watch and a scan read: the last message of every key, then what comes.

use std::{collections::VecDeque, sync::Arc};

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Shared, connection::Line, server::matches};
use crate::error::{Cause, QueueError};

/// A message as a watch sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) subject: String,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
    pub(crate) sequence: u64,
    pub(crate) published: time::OffsetDateTime,
    /// How many matching messages follow at this moment.
    pub(crate) pending: u64,
}

/// An ordered consumer.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    line: Arc<Line>,
    stream: String,
    filter: String,
    first: VecDeque<u64>,
    next: u64,
    /// How many messages there were when it was opened.
    pub(crate) pending: u64,
}

impl Feed {
    /// Opens it on what there is (`from` is nothing), or on what comes from a sequence on.
    pub(super) fn open(
        shared: &Arc<Shared>,
        line: &Arc<Line>,
        stream: &str,
        filter: &str,
        from: Option<u64>,
    ) -> Result<Self, QueueError> {
        let (server, _) = shared.server();
        let Some((held, _)) = server.streams.get(stream) else {
            return Err(QueueError::Missing { what: format!("stream {stream}") });
        };
        let (first, next) = match from {
            None => (VecDeque::from(held.last_per_subject(filter)), held.last + 1),
            Some(sequence) => (VecDeque::new(), sequence),
        };
        let later = held.messages.range(next..).filter(|(_, stored)| matches(filter, &stored.subject)).count();
        let pending = u64::try_from(first.len() + later).unwrap_or(u64::MAX);
        let (shared, line) = (Arc::clone(shared), Arc::clone(line));
        Ok(Self { shared, line, stream: stream.to_owned(), filter: filter.to_owned(), first, next, pending })
    }

    /// The next message; an error when the stream is gone.
    pub(crate) async fn next(&mut self) -> Result<Seen, Cause> {
        let mut waited = false;
        loop {
            let changed = self.shared.server().0.changed(&self.stream);
            let mut stirred = std::pin::pin!(changed.notified());
            stirred.as_mut().enable();
            let line = Arc::clone(&self.line);
            let mut turns = line.turns();
            if self.line.is_connected() {
                if waited {
                    let pause = self.line.way(&self.shared);
                    tokio::time::sleep(pause).await;
                }
                if let Some(seen) = self.look()? {
                    return Ok(seen);
                }
            }
            let expiry = {
                let (server, _) = self.shared.server();
                server.streams.get(&self.stream).and_then(|(held, _)| held.next_expiry())
            };
            let aged = expiry.map(|at| self.shared.instant(at));
            tokio::select! {
                biased;
                () = stirred => {}
                () = turns.changed() => {}
                () = until(aged) => {}
            }
            waited = true;
        }
    }

    /// What is there now.
    fn look(&mut self) -> Result<Option<Seen>, Cause> {
        let (server, now) = self.shared.server();
        let Some((held, _)) = server.streams.get(&self.stream) else {
            return Err(format!("stream {} is gone", self.stream).into());
        };
        let sequence = loop {
            let Some(sequence) = self.first.pop_front() else {
                let mut later = held.messages.range(self.next..);
                let found = later.find(|(_, stored)| matches(&self.filter, &stored.subject));
                let Some((sequence, _)) = found else { return Ok(None) };
                self.next = sequence + 1;
                break *sequence;
            };
            if held.messages.contains_key(&sequence) {
                break sequence;
            }
        };
        let Some(stored) = held.messages.get(&sequence) else { return Ok(None) };
        let later = held.messages.range(self.next..).filter(|(_, s)| matches(&self.filter, &s.subject)).count();
        Ok(Some(Seen {
            subject: stored.subject.clone(),
            headers: stored.headers.clone(),
            payload: stored.payload.clone(),
            sequence,
            published: now.at(stored.at).date(),
            pending: u64::try_from(self.first.len() + later).unwrap_or(u64::MAX),
        }))
    }
}

/// Waits until an instant; for ever when there is none.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
