//! Where replicas are, as the sector records say.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use streams::{
    error::QueueError,
    id::{MinerId, SectorId, SectorNumber},
    kv::Bucket,
    sector::SectorRecord,
};

use crate::facts::Located;

/// Records read at once.
const READS_MAX: usize = 16;

/// The sector records, by what proving needs of them.
#[derive(Debug, Clone)]
pub(crate) struct Replicas {
    records: Bucket<SectorRecord>,
}

impl Replicas {
    pub(crate) const fn new(records: Bucket<SectorRecord>) -> Self {
        Self { records }
    }

    /// Where these sectors' replicas are; nothing for a sector without a record, or before PC2.
    pub(crate) async fn find(
        &self,
        miner: MinerId,
        numbers: &BTreeSet<SectorNumber>,
    ) -> Result<BTreeMap<SectorNumber, Vec<Located>>, QueueError> {
        stream::iter(numbers.iter().copied())
            .map(|number| async move {
                let key = SectorId { miner, number }.key();
                let entry = self.records.get(&key).await?;
                Ok((number, entry.map(|entry| located(&entry.value)).unwrap_or_default()))
            })
            .buffer_unordered(READS_MAX)
            .try_collect()
            .await
    }
}

/// The persisted copy first: the local one is on disks that are busy sealing. An attached sector has one replica.
fn located(record: &SectorRecord) -> Vec<Located> {
    if let Some(attached) = record.state.attached() {
        return vec![Located { place: attached.place.clone(), store: attached.store }];
    }
    let Some(sealed) = record.state.sealed() else { return Vec::new() };
    let persisted = sealed.persisted.iter().map(|copy| Located { place: copy.place.clone(), store: copy.store });
    let local = Located { place: sealed.at.place.clone(), store: sealed.at.store };
    persisted.chain([local]).collect()
}
