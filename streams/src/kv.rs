//! Typed buckets: the truth, under keys, changed by compare-and-set.

use std::marker::PhantomData;

use crate::{error::QueueError, id::Timestamp, message::Text, nats::Nats};

/// The buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BucketName {
    /// `<miner>.<sector>`: sector records.
    Sectors,
    /// `<miner>.<number>`: sector numbers given, created only.
    Numbers,
    /// `<miner>.<sector>.<stage>`: who works on what.
    Claims,
    /// `<agent>`: heartbeats.
    Agents,
    /// `<store>`: stores as last seen.
    Stores,
    /// `head`, `deadline.<miner>`: the chain as last seen.
    Chain,
    /// `<sender>.<nonce>`: the outbox.
    Messages,
    /// `<miner>.<open>.<partition>`: window PoSt proofs.
    Posts,
    /// `coordinator`, `follower`, `poster.<miner>.<open>`: roles.
    Leases,
    /// `<miner>.<sector>`: who may write a sector's files.
    Locks,
}

/// A value under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// The key.
    pub key: String,
    /// The value.
    pub value: T,
    /// What a change must name to be accepted.
    pub revision: u64,
    /// When this revision was written, by the server's clock.
    pub created: Timestamp,
}

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum CasError {
    /// Somebody else changed the key first: read it again and decide again.
    #[error("{bucket} {key} was changed by another")]
    Lost {
        /// The bucket.
        bucket: &'static str,
        /// The key.
        key: String,
    },
    /// The queue failed; whether the change was made is not known.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// What happened under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// It has a value.
    Put(Entry<T>),
    /// It was deleted, or it expired.
    Gone {
        /// The key.
        key: String,
    },
}

/// A bucket of one kind of text.
#[derive(Debug)]
pub struct Bucket<T> {
    text: PhantomData<fn() -> T>,
}

impl<T> Clone for Bucket<T> {
    fn clone(&self) -> Self {
        Self { text: PhantomData }
    }
}

impl<T: Text> Bucket<T> {
    /// Opens a bucket, which must exist.
    pub async fn open(nats: &Nats, name: BucketName) -> Result<Self, QueueError> {
        let _ = (nats, name);
        todo!()
    }

    /// Reads a key from the stream's leader.
    pub async fn get(&self, key: &str) -> Result<Option<Entry<T>>, QueueError> {
        let _ = key;
        todo!()
    }

    /// Writes a key that has no value, and returns its revision.
    pub async fn create(&self, key: &str, value: &T) -> Result<u64, CasError> {
        let _ = (key, value);
        todo!()
    }

    /// Replaces revision `revision` of a key, and returns the new one.
    pub async fn update(&self, key: &str, value: &T, revision: u64) -> Result<u64, CasError> {
        let _ = (key, value, revision);
        todo!()
    }

    /// Writes a key whatever it held, and returns its revision.
    pub async fn put(&self, key: &str, value: &T) -> Result<u64, QueueError> {
        let _ = (key, value);
        todo!()
    }

    /// Deletes a key, whatever it held.
    pub async fn delete(&self, key: &str) -> Result<(), QueueError> {
        let _ = key;
        todo!()
    }

    /// Deletes revision `revision` of a key.
    pub async fn delete_if(&self, key: &str, revision: u64) -> Result<(), CasError> {
        let _ = (key, revision);
        todo!()
    }

    /// Every value whose key matches (`>`, `f01000.*`), in order of revision.
    pub async fn entries(&self, filter: &str) -> Result<Vec<Entry<T>>, QueueError> {
        let _ = filter;
        todo!()
    }

    /// Every key that matches and has a value.
    pub async fn keys(&self, filter: &str) -> Result<Vec<String>, QueueError> {
        let _ = filter;
        todo!()
    }

    /// Follows keys: current values first, then every change.
    pub async fn watch(&self, filter: &str) -> Result<Watch<T>, QueueError> {
        let _ = filter;
        todo!()
    }
}

/// Changes under the watched keys.
#[derive(Debug)]
pub struct Watch<T> {
    text: PhantomData<fn() -> T>,
}

impl<T: Text> Watch<T> {
    /// The next change.
    pub async fn next(&mut self) -> Result<Change<T>, QueueError> {
        todo!()
    }
}
