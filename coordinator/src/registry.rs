//! Bucket `SECTORS`: the only place where a sector's record is written, always by compare-and-set.

use std::sync::Arc;

use host::clock::Clock;
use streams::{
    error::QueueError,
    id::{SectorId, Timestamp},
    kv::{Bucket, BucketName, CasError, Scan},
    nats::Nats,
    sector::SectorRecord,
};

use crate::{
    sector::{Event, Refused, Rules, Step, step},
    trail::Trail,
};

/// How often a lost compare-and-set is tried again before something is wrong.
const CAS_TRIES_MAX: u32 = 32;

/// What became of an event.
#[derive(Debug)]
pub(crate) enum Applied {
    /// The record was written; these actions follow.
    Moved(Box<Step>),
    /// The event changes nothing.
    Refused(Refused),
}

/// A record that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("there is no sector {0}")]
    Unknown(SectorId),
    #[error("sector {0} was changed by others {CAS_TRIES_MAX} times in a row")]
    Contended(SectorId),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// The sector records.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    sectors: Bucket<SectorRecord>,
    trail: Trail,
    rules: Rules,
    clock: Arc<dyn Clock>,
}

impl Registry {
    pub(crate) async fn open(nats: &Nats, rules: Rules, clock: Arc<dyn Clock>) -> Result<Self, QueueError> {
        let trail = Trail::new(nats.clone(), Arc::clone(&clock));
        Ok(Self { sectors: Bucket::open(nats, BucketName::Sectors).await?, trail, rules, clock })
    }

    /// The time records carry.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_unix_ms())
    }

    /// The events of its transitions.
    pub(crate) const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Reads one sector.
    pub(crate) async fn get(&self, id: SectorId) -> Result<SectorRecord, RegistryError> {
        Ok(self.sectors.get(&id.key()).await?.ok_or(RegistryError::Unknown(id))?.value)
    }

    /// Reads all sectors, one after another.
    pub(crate) async fn scan(&self) -> Result<Scan<SectorRecord>, QueueError> {
        self.sectors.each(">").await
    }

    /// Writes a sector that does not exist yet.
    pub(crate) async fn create(&self, record: &SectorRecord) -> Result<(), CasError> {
        self.sectors.create(&record.id.key(), record).await?;
        host::failpoint!("coordinator.registry.created");
        Ok(())
    }

    /// Whether an event would count for this record.
    pub(crate) fn would_move(&self, record: &SectorRecord, event: &Event) -> bool {
        step(record.clone(), event.clone(), self.rules, self.now()).is_ok()
    }

    /// Lets an event count, if it does. The record is read again whenever another writer was faster.
    pub(crate) async fn apply(&self, id: SectorId, event: &Event) -> Result<Applied, RegistryError> {
        let mut attempted: Option<Box<Step>> = None;
        for _ in 0..CAS_TRIES_MAX {
            let entry = self.sectors.get(&id.key()).await?.ok_or(RegistryError::Unknown(id))?;
            // A write whose answer was lost looks like a lost race: here it is told apart by what it left.
            if let Some(done) = attempted.take_if(|step| step.next == entry.value) {
                return Ok(Applied::Moved(done));
            }
            let before = entry.value.clone();
            let step = match step(entry.value, event.clone(), self.rules, self.now()) {
                Ok(step) => Box::new(step),
                Err(refused) => return Ok(Applied::Refused(refused)),
            };
            self.trail.complete(&before).await?;
            match self.sectors.update(&id.key(), &step.next, entry.revision).await {
                Ok(_) => {
                    host::failpoint!("coordinator.registry.written");
                    return Ok(Applied::Moved(step));
                }
                Err(CasError::Lost { .. }) => attempted = Some(step),
                Err(CasError::Queue(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contended(id))
    }
}
