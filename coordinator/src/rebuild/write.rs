//! Writes what a rebuild decided. Each write is one that may be made again: a rebuild that was cut off is run again.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use host::failpoint;
use streams::{
    error::QueueError,
    id::{MinerId, SectorId, SectorNumber, Timestamp},
    kv::{Bucket, BucketName, CasError},
    message::SectorEvent,
    nats::Nats,
    records::{ClusterRecord, NumberGiven},
    sector::SectorRecord,
    whole::purge,
};

use crate::incarnation::{CLUSTER, NEXT};

/// Writes under way at one time: one server syncs them one after the other, three take longer for each.
const WRITTEN_AT_ONCE: usize = 64;

/// A write that was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("{0} was changed by another process meanwhile")]
    Changed(String),
}

/// A record to write: over a revision, or as a new one.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) record: SectorRecord,
    pub(crate) over: Option<u64>,
    pub(crate) what: String,
}

/// Begins a life: from here on nobody leads until the rebuild is finished. One that was begun before is gone on with.
pub(crate) async fn begin(nats: &Nats, life: ClusterRecord) -> Result<ClusterRecord, WriteError> {
    let bucket: Bucket<ClusterRecord> = Bucket::open(nats, BucketName::Cluster).await?;
    let begun = match bucket.create(NEXT, &life).await {
        Ok(_) => life,
        Err(CasError::Lost { .. }) => match bucket.get(NEXT).await? {
            Some(entry) if entry.value.incarnation >= life.incarnation => entry.value,
            // Stores know of a later life than whoever began this one did.
            Some(entry) => match bucket.update(NEXT, &life, entry.revision).await {
                Ok(_) => life,
                Err(CasError::Lost { .. }) => return Err(WriteError::Changed("CLUSTER next".to_owned())),
                Err(CasError::Queue(error)) => return Err(error.into()),
            },
            None => return Err(WriteError::Changed("CLUSTER next".to_owned())),
        },
        Err(CasError::Queue(error)) => return Err(error.into()),
    };
    failpoint!("coordinator.rebuild.begun");
    Ok(begun)
}

/// Makes the life that was begun the one that is.
pub(crate) async fn finish(nats: &Nats, life: &ClusterRecord) -> Result<(), WriteError> {
    let bucket: Bucket<ClusterRecord> = Bucket::open(nats, BucketName::Cluster).await?;
    bucket.put(CLUSTER, life).await?;
    failpoint!("coordinator.rebuild.life-written");
    bucket.delete(NEXT).await?;
    failpoint!("coordinator.rebuild.finished");
    Ok(())
}

/// Claims and locks of an earlier life would keep agents out. Their revisions go on rising, so no old fence fits.
pub(crate) async fn clean(nats: &Nats) -> Result<(), WriteError> {
    for bucket in [BucketName::Claims, BucketName::Locks] {
        purge(nats, bucket).await?;
    }
    failpoint!("coordinator.rebuild.cleaned");
    Ok(())
}

/// Creates every number that is not there. Returns how many there were to create.
pub(crate) async fn numbers(
    nats: &Nats,
    known: &BTreeSet<SectorId>,
    begin_at: &BTreeMap<MinerId, SectorNumber>,
    at: Timestamp,
) -> Result<usize, WriteError> {
    let bucket: Bucket<NumberGiven> = Bucket::open(nats, BucketName::Numbers).await?;
    let there: BTreeSet<String> = bucket.keys(">").await?.into_iter().collect();
    // The number that others begin after is given to nobody.
    let begin = begin_at.iter().map(|(miner, number)| SectorId { miner: *miner, number: *number });
    let missing: Vec<String> =
        known.iter().copied().chain(begin).map(|id| id.key()).filter(|key| !there.contains(key)).collect();
    let count = missing.len();
    stream::iter(missing)
        .map(|key| {
            let bucket = &bucket;
            async move {
                match bucket.create(&key, &NumberGiven { at }).await {
                    // A write whose answer was lost, made again.
                    Ok(_) | Err(CasError::Lost { .. }) => {
                        failpoint!("coordinator.rebuild.number-written");
                        Ok(())
                    }
                    Err(CasError::Queue(error)) => Err(WriteError::from(error)),
                }
            }
        })
        .buffer_unordered(WRITTEN_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    failpoint!("coordinator.rebuild.numbers-written");
    Ok(count)
}

/// Writes records by compare-and-set, each with its event.
pub(crate) async fn sectors(nats: &Nats, records: Vec<Written>, at: Timestamp) -> Result<(), WriteError> {
    let bucket: Bucket<SectorRecord> = Bucket::open(nats, BucketName::Sectors).await?;
    stream::iter(records)
        .map(|written| {
            let bucket = &bucket;
            async move { sector(nats, bucket, written, at).await }
        })
        .buffer_unordered(WRITTEN_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    failpoint!("coordinator.rebuild.sectors-written");
    Ok(())
}

async fn sector(nats: &Nats, bucket: &Bucket<SectorRecord>, written: Written, at: Timestamp) -> Result<(), WriteError> {
    let Written { record, over, what } = written;
    let key = record.id.key();
    let made = match over {
        Some(revision) => bucket.update(&key, &record, revision).await,
        None => bucket.create(&key, &record).await,
    };
    match made {
        Ok(_) => {}
        Err(CasError::Lost { .. }) => {
            // A write whose answer was lost looks like a lost race: it is told apart by what it left.
            if bucket.get(&key).await?.is_none_or(|entry| entry.value != record) {
                return Err(WriteError::Changed(format!("sector {}", record.id)));
            }
        }
        Err(CasError::Queue(error)) => return Err(error.into()),
    }
    failpoint!("coordinator.rebuild.sector-written");
    let event = SectorEvent {
        sector: record.id,
        seq: record.seq,
        at,
        state: record.state.name().to_owned(),
        what: format!("rebuilt in incarnation {}: {what}", record.incarnation),
    };
    Ok(nats.publish_event(&event).await?)
}
