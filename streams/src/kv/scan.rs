//! Reading many keys one after another, with only one of them in memory.

use async_nats::jetstream::{
    consumer::{DeliverPolicy, push},
    stream::Stream,
};
use futures::StreamExt as _;

use super::{
    Bucket, Change, Entry,
    watch::{STALL_LIMIT, info, open},
};
use crate::{error::QueueError, message::Text};

/// One key of a scan.
#[derive(Debug)]
pub enum Scanned<T> {
    /// It has a value.
    Entry(Entry<T>),
    /// It has a value that this program cannot read: the others are read all the same.
    Unreadable {
        /// The key.
        key: String,
        /// Why.
        error: QueueError,
    },
}

/// The current value of every key that matches, in order of revision.
///
/// A key that is changed while the scan goes on may come twice, the newer value last.
pub struct Scan<T> {
    bucket: Bucket<T>,
    filter: String,
    stream: Stream<()>,
    consumer: String,
    messages: push::Ordered,
    left: u64,
}

impl<T> std::fmt::Debug for Scan<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("filter", &self.filter).field("left", &self.left).finish_non_exhaustive()
    }
}

impl<T: Text> Bucket<T> {
    /// Begins to read every key that matches (`>`, `f01000.*`). Unlike [`Bucket::entries`], it holds one at a time,
    /// and a value that cannot be read stops nothing.
    pub async fn each(&self, filter: &str) -> Result<Scan<T>, QueueError> {
        let opened = open(self, filter, DeliverPolicy::LastPerSubject, false).await?;
        Ok(Scan {
            bucket: self.clone(),
            filter: filter.to_owned(),
            stream: opened.stream,
            consumer: opened.consumer,
            messages: opened.messages,
            left: opened.pending,
        })
    }
}

impl<T: Text> Scan<T> {
    /// The next key; none after the last. After an error the scan is over and incomplete: begin another.
    pub async fn next(&mut self) -> Result<Option<Scanned<T>>, QueueError> {
        while self.left > 0 {
            let stalled = || QueueError::TimedOut { what: self.bucket.what(&self.filter), waited: STALL_LIMIT };
            let next = tokio::time::timeout(STALL_LIMIT, self.messages.next()).await.map_err(|_| stalled())?;
            let Some(Ok(message)) = next else { return Err(stalled()) };
            let client = |source| QueueError::Client { what: self.bucket.what(&self.filter), source };
            self.left = info(&message).map_err(client)?.pending;
            let key = self.bucket.key(&message)?;
            match self.bucket.change(&message) {
                Ok(Change::Put(entry)) => return Ok(Some(Scanned::Entry(entry))),
                Ok(Change::Gone { .. }) => {}
                Err(error) => return Ok(Some(Scanned::Unreadable { key, error })),
            }
        }
        // The server removes it by itself after a while; this is only tidier.
        drop(self.stream.delete_consumer(&self.consumer).await);
        Ok(None)
    }
}
