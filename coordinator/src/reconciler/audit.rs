//! Events that were lost between the record and the stream are written again: the record keeps its last one.

use std::collections::VecDeque;

use streams::{id::SectorId, kv::Entry, nats::Nats, report, sector::SectorRecord};

use crate::driver::Driver;

/// How many records are looked after in one pass; what is beyond waits for its next change.
const NOTED_MAX: usize = 10_000;

/// Follows which records changed since they were last compared with the stream.
pub(super) struct Audit {
    nats: Nats,
    driver: Driver,
    /// Every record up to this revision was compared.
    compared: u64,
    changed: VecDeque<(u64, SectorId, u64)>,
}

impl Audit {
    pub(super) const fn new(nats: Nats, driver: Driver) -> Self {
        Self { nats, driver, compared: 0, changed: VecDeque::new() }
    }

    /// Remembers a record that changed. They come in order of revision, so the newest are kept.
    pub(super) fn note(&mut self, entry: &Entry<SectorRecord>) {
        if entry.revision <= self.compared || entry.value.what.is_empty() {
            return;
        }
        if self.changed.len() >= NOTED_MAX {
            self.changed.pop_front();
        }
        self.changed.push_back((entry.revision, entry.value.id, entry.value.seq));
    }

    /// Compares what changed; returns how many events were missing.
    pub(super) async fn mend(&mut self) -> usize {
        let mut mended = 0;
        while let Some((revision, id, seq)) = self.changed.front().copied() {
            match self.is_missing(id, seq).await {
                Ok(true) => {
                    // Another transition may have come meanwhile: the record as it is now says what to write.
                    if let Ok(record) = self.driver.registry().get(id).await {
                        self.driver.publish_event(&record).await;
                        mended += 1;
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(sector = %id, "read its last event, the next pass will: {}", host::exit::chain(&error));
                    self.changed.clear();
                    return mended;
                }
            }
            self.compared = self.compared.max(revision);
            self.changed.pop_front();
        }
        mended
    }

    async fn is_missing(&self, id: SectorId, seq: u64) -> Result<bool, streams::error::QueueError> {
        Ok(report::last_event(&self.nats, id).await?.is_none_or(|event| event.seq < seq))
    }
}
