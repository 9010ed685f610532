//! Events that were lost between the record and the stream are written again: the record keeps its last one.

use std::collections::VecDeque;

use streams::{id::SectorId, kv::Entry, sector::SectorRecord};

use crate::registry::{Registry, RegistryError};

/// How many records are looked after in one pass; what is beyond waits for its next change.
const NOTED_MAX: usize = 10_000;

/// Follows which records changed since they were last compared with the stream.
pub(super) struct Audit {
    registry: Registry,
    /// Every record up to this revision was compared.
    compared: u64,
    changed: VecDeque<(u64, SectorId)>,
}

impl Audit {
    pub(super) const fn new(registry: Registry) -> Self {
        Self { registry, compared: 0, changed: VecDeque::new() }
    }

    /// Remembers a record that changed. They come in order of revision, so the newest are kept.
    pub(super) fn note(&mut self, entry: &Entry<SectorRecord>) {
        if entry.revision <= self.compared || entry.value.what.is_empty() {
            return;
        }
        if self.changed.len() >= NOTED_MAX {
            self.changed.pop_front();
        }
        self.changed.push_back((entry.revision, entry.value.id));
    }

    /// Compares what changed; returns how many events were missing.
    pub(super) async fn mend(&mut self) -> usize {
        let mut mended = 0;
        while let Some((revision, id)) = self.changed.front().copied() {
            match self.mend_one(id).await {
                Ok(was_missing) => mended += usize::from(was_missing),
                Err(error) => {
                    tracing::warn!(sector = %id, "look at its last event, the next pass will: {}", host::exit::chain(&error));
                    self.changed.clear();
                    return mended;
                }
            }
            self.compared = self.compared.max(revision);
            self.changed.pop_front();
        }
        mended
    }

    async fn mend_one(&self, id: SectorId) -> Result<bool, RegistryError> {
        // Another transition may have come meanwhile: the record as it is now says what to write.
        let record = match self.registry.get(id).await {
            Err(RegistryError::Unknown(_)) => return Ok(false),
            record => record?,
        };
        Ok(self.registry.trail().complete(&record).await?)
    }
}
