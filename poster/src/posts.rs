//! Proofs in bucket `POSTS`, from the moment they are verified until they are final on chain.

use std::collections::BTreeMap;

use host::failpoint;
use streams::{
    error::QueueError,
    id::{Epoch, MinerId},
    kv::{Bucket, CasError, Entry},
    records::PostRecord,
};

use crate::deadline::Window;

/// The bucket.
#[derive(Debug, Clone)]
pub(crate) struct Posts {
    bucket: Bucket<PostRecord>,
}

fn key(record: &PostRecord) -> String {
    format!("{}.{}.{}", record.miner, record.open, record.partition)
}

impl Posts {
    pub(crate) const fn new(bucket: Bucket<PostRecord>) -> Self {
        Self { bucket }
    }

    /// The proofs of a window, by partition.
    pub(crate) async fn of(&self, window: &Window) -> Result<BTreeMap<u64, Entry<PostRecord>>, QueueError> {
        let entries = self.bucket.entries(&format!("{}.{}.*", window.miner, window.open)).await?;
        Ok(entries.into_iter().map(|entry| (entry.value.partition, entry)).collect())
    }

    /// Windows of a miner with a proof whose landing is not written down.
    pub(crate) async fn unsettled(&self, miner: MinerId, since: Epoch) -> Result<Vec<PostRecord>, QueueError> {
        let entries = self.bucket.entries(&format!("{miner}.*.*")).await?;
        let open = |record: &PostRecord| record.landed_at.is_none() && record.close >= since;
        Ok(entries.into_iter().map(|entry| entry.value).filter(open).collect())
    }

    /// Stores a verified proof, over one that answered another challenge if need be.
    pub(crate) async fn store(&self, record: &PostRecord) -> Result<(), QueueError> {
        self.bucket.put(&key(record), record).await.map(drop)
    }

    /// Changes a stored proof's fate: its message, its landing. `None` when there is none, or when it answers another
    /// challenge by now, or is in another message than the caller knows.
    pub(crate) async fn amend(
        &self,
        record: &PostRecord,
        change: impl FnOnce(&mut PostRecord),
    ) -> Result<Option<PostRecord>, CasError> {
        let Some(mut entry) = self.bucket.get(&key(record)).await? else { return Ok(None) };
        if entry.value.randomness != record.randomness || entry.value.message != record.message {
            return Ok(None);
        }
        change(&mut entry.value);
        self.bucket.update(&entry.key, &entry.value, entry.revision).await?;
        Ok(Some(entry.value))
    }

    /// Deletes proofs of windows that closed before `before`: nobody can dispute them any more.
    pub(crate) async fn forget(&self, miner: MinerId, before: Epoch) -> Result<usize, QueueError> {
        let mut forgotten = 0;
        for entry in self.bucket.entries(&format!("{miner}.*.*")).await? {
            if entry.value.close < before {
                self.bucket.delete(&entry.key).await?;
                failpoint!("poster.posts.forgotten");
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }
}
