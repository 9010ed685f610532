//! Sector numbers: each is given once, ever.
//!
//! A key in `NUMBERS` is only ever created, so two coordinators, or one that was restored from a backup beside one that
//! was not, cannot give the same number; and the miner actor is asked whether it knows the number already. The data
//! folder remembers a number before it is given, so that a queue that was lost cannot have one given again.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use chain::ChainApi;
use host::failpoint;
use streams::{
    error::QueueError,
    id::{MinerId, SectorId, SectorNumber, Timestamp},
    kv::{Bucket, BucketName, CasError, Scanned},
    nats::Nats,
    records::NumberGiven,
};
use tokio::sync::Mutex;

use crate::memory::{MemoryError, MemoryFile};

/// How many numbers in a row may be found taken before something is wrong.
const TAKEN_MAX: u32 = 100_000;

/// A number that could not be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NumberError {
    #[error("{TAKEN_MAX} sector numbers of {0} in a row are taken")]
    Exhausted(MinerId),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("ask whether a sector number is taken")]
    Chain(#[from] chain::ChainError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Gives numbers.
#[derive(Clone)]
pub(crate) struct Numbers {
    given: Bucket<NumberGiven>,
    chain: Arc<dyn ChainApi>,
    memory: Arc<MemoryFile>,
    /// Where to go on, by miner: only a start, since what is given decides. Held while numbers are given, so that two
    /// submissions do not race for each.
    next: Arc<Mutex<BTreeMap<MinerId, u64>>>,
}

impl Numbers {
    pub(crate) async fn open(
        nats: &Nats,
        chain: Arc<dyn ChainApi>,
        memory: Arc<MemoryFile>,
    ) -> Result<Self, QueueError> {
        Ok(Self { given: Bucket::open(nats, BucketName::Numbers).await?, chain, memory, next: Arc::default() })
    }

    /// Gives `count` new numbers of a miner, ascending.
    pub(crate) async fn give(&self, miner: MinerId, count: usize, at: Timestamp) -> Result<Vec<SectorId>, NumberError> {
        let mut known = self.next.lock().await;
        let next = match known.entry(miner) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(new) => new.insert(self.highest(miner).await?.map_or(1, |highest| highest.saturating_add(1))),
        };
        let mut given = Vec::with_capacity(count);
        let mut taken: u32 = 0;
        while given.len() < count {
            if taken > TAKEN_MAX {
                return Err(NumberError::Exhausted(miner));
            }
            let id = SectorId { miner, number: SectorNumber(*next) };
            *next = next.saturating_add(1);
            if self.chain.sector_allocated(miner, id.number, &Vec::new()).await? {
                taken += 1;
                continue;
            }
            self.memory.reserve(miner, id.number)?;
            failpoint!("coordinator.numbers.remembered");
            match self.given.create(&id.key(), &NumberGiven { at }).await {
                Ok(_) => {
                    failpoint!("coordinator.numbers.given");
                    given.push(id);
                }
                Err(CasError::Lost { .. }) => taken += 1,
                Err(CasError::Queue(error)) => return Err(error.into()),
            }
        }
        Ok(given)
    }

    /// Notes a number that is in use on chain, so that it is never given.
    pub(crate) async fn keep(&self, id: SectorId, at: Timestamp) -> Result<(), NumberError> {
        self.memory.reserve(id.miner, id.number)?;
        failpoint!("coordinator.attach.number_remembered");
        match self.given.create(&id.key(), &NumberGiven { at }).await {
            Ok(_) | Err(CasError::Lost { .. }) => {
                failpoint!("coordinator.attach.number_kept");
                Ok(())
            }
            Err(CasError::Queue(error)) => Err(error.into()),
        }
    }

    async fn highest(&self, miner: MinerId) -> Result<Option<u64>, QueueError> {
        let mut highest = None;
        let mut scan = self.given.each(&format!("{miner}.*")).await?;
        while let Some(scanned) = scan.next().await? {
            // A key is taken, whatever is under it.
            let key = match scanned {
                Scanned::Entry(entry) => entry.key,
                Scanned::Unreadable { key, .. } => key,
            };
            highest = highest.max(SectorId::from_key(&key).ok().map(|id| id.number.0));
        }
        Ok(highest)
    }
}
