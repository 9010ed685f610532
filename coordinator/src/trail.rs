//! Stream `EVENTS`: every transition of a sector, told once its record is written and before the next one is.
//!
//! A record keeps only its last transition, so an event that was lost has to be written while the record still knows it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use host::clock::Clock;
use streams::{
    error::QueueError,
    id::{SectorId, Timestamp},
    message::SectorEvent,
    nats::Nats,
    report,
    sector::SectorRecord,
};

/// Sectors remembered. Beyond that all are forgotten, which costs one look at the stream each.
const TOLD_MAX: usize = 1 << 18;

/// The events of all sectors.
#[derive(Debug, Clone)]
pub(crate) struct Trail {
    nats: Nats,
    clock: Arc<dyn Clock>,
    /// The last transition of which this process knows that it is in the stream.
    told: Arc<Mutex<HashMap<SectorId, u64>>>,
}

impl Trail {
    pub(crate) fn new(nats: Nats, clock: Arc<dyn Clock>) -> Self {
        Self { nats, clock, told: Arc::default() }
    }

    /// Writes the record's last transition.
    pub(crate) async fn tell(&self, record: &SectorRecord) -> Result<(), QueueError> {
        let event = SectorEvent {
            sector: record.id,
            seq: record.seq,
            at: Timestamp(self.clock.now_unix_ms()),
            state: record.state.name().to_owned(),
            what: record.what.clone(),
        };
        self.nats.publish_event(&event).await?;
        self.note(record);
        Ok(())
    }

    /// Writes the record's last transition if the stream lacks it; returns whether it did.
    pub(crate) async fn complete(&self, record: &SectorRecord) -> Result<bool, QueueError> {
        // A record that was rebuilt before its first transition has none to tell of.
        if record.what.is_empty() || self.told().get(&record.id).is_some_and(|seq| *seq >= record.seq) {
            return Ok(false);
        }
        let last = report::last_event(&self.nats, record.id).await?;
        if last.is_some_and(|event| event.seq >= record.seq) {
            self.note(record);
            return Ok(false);
        }
        self.tell(record).await?;
        Ok(true)
    }

    fn note(&self, record: &SectorRecord) {
        let mut told = self.told();
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(record.id, record.seq);
    }

    fn told(&self) -> MutexGuard<'_, HashMap<SectorId, u64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
