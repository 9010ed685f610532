//! Reading many keys one after another, with only one of them in memory.

use async_nats::jetstream::consumer::DeliverPolicy;

use super::{
    Bucket, Change, Entry,
    watch::{Messages, STALL_LIMIT, open},
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
    /// Until the last was read.
    messages: Option<Messages>,
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
        let (messages, left) = (Some(opened.messages), opened.pending);
        Ok(Scan { bucket: self.clone(), filter: filter.to_owned(), messages, left })
    }
}

impl<T: Text> Scan<T> {
    /// The next key; none after the last. After an error the scan is over and incomplete: begin another.
    pub async fn next(&mut self) -> Result<Option<Scanned<T>>, QueueError> {
        while self.left > 0 {
            let stalled = || QueueError::TimedOut { what: self.bucket.what(&self.filter), waited: STALL_LIMIT };
            let messages = self.messages.as_mut().ok_or_else(stalled)?;
            let next = tokio::time::timeout(STALL_LIMIT, messages.next()).await.map_err(|_| stalled())?;
            let Some(Ok(message)) = next else { return Err(stalled()) };
            self.left = message.pending;
            let key = self.bucket.key(&message)?;
            match self.bucket.change(&message) {
                Ok(Change::Put(entry)) => return Ok(Some(Scanned::Entry(entry))),
                Ok(Change::Gone { .. }) => {}
                Err(error) => return Ok(Some(Scanned::Unreadable { key, error })),
            }
        }
        if let Some(messages) = self.messages.take() {
            messages.close().await;
        }
        Ok(None)
    }
}
