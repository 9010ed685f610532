//! Stores that were given up: recorded first, so that whoever leads carries it through, and acted on by the reconciler.

use std::collections::BTreeMap;

use streams::{
    error::QueueError,
    id::{StoreId, Timestamp},
    kv::{Bucket, BucketName},
    lost::LostStore,
    nats::Nats,
    records::StoreRecord,
};

/// Bucket `CLUSTER`, keys `lost.<store>`.
#[derive(Debug, Clone)]
pub(crate) struct LostStores {
    lost: Bucket<LostStore>,
    seen: Bucket<StoreRecord>,
}

impl LostStores {
    pub(crate) async fn open(nats: &Nats) -> Result<Self, QueueError> {
        let lost = Bucket::open(nats, BucketName::Cluster).await?;
        Ok(Self { lost, seen: Bucket::open(nats, BucketName::Stores).await? })
    }

    /// Gives a store up; whether it was not given up before.
    pub(crate) async fn give_up(&self, store: StoreId, at: Timestamp, because: String) -> Result<bool, QueueError> {
        let key = LostStore::key(store);
        if self.lost.get(&key).await?.is_some() {
            return Ok(false);
        }
        self.lost.put(&key, &LostStore { store, at, because }).await?;
        host::failpoint!("coordinator.stores.given_up");
        Ok(true)
    }

    /// Takes a store back; whether it was given up.
    pub(crate) async fn found(&self, store: StoreId) -> Result<bool, QueueError> {
        let key = LostStore::key(store);
        if self.lost.get(&key).await?.is_none() {
            return Ok(false);
        }
        self.lost.delete(&key).await?;
        Ok(true)
    }

    pub(crate) async fn is_lost(&self, store: StoreId) -> Result<bool, QueueError> {
        Ok(self.lost.get(&LostStore::key(store)).await?.is_some())
    }

    /// Every store that was given up.
    pub(crate) async fn all(&self) -> Result<BTreeMap<StoreId, LostStore>, QueueError> {
        let entries = self.lost.entries(LostStore::FILTER).await?;
        Ok(entries.into_iter().map(|entry| (entry.value.store, entry.value)).collect())
    }

    /// Local stores of which nothing was heard for so long.
    pub(crate) async fn silent(&self, now: Timestamp, longer_than_ms: u64) -> Result<Vec<StoreRecord>, QueueError> {
        let entries = self.seen.entries(">").await?;
        let records = entries.into_iter().map(|entry| entry.value);
        Ok(records.filter(|store| !store.persistent && now.ms_since(store.at) > longer_than_ms).collect())
    }
}
