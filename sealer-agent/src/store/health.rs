//! How each store of this agent is, as it was last seen: what choices are made by, so that a disk which does not answer
//! keeps nobody waiting but those who work on it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use streams::id::{StoreId, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    StoreError,
    condition::Condition,
    look::{self, Look},
    registered::{self, Entry},
};
use crate::{halt::Halt, now::now};

/// How long a disk may be silent, unless `agent.toml` says otherwise.
pub(crate) const HANG_AFTER: Duration = Duration::from_secs(30);
/// Times that limit a store is set aside for what only a write shows.
const ASIDE_TIMES: u32 = 2;

/// What was seen of a store.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) look: Look,
    /// What this host's list says of it.
    pub(crate) entry: Entry,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone)]
struct Aside {
    condition: Condition,
    until: Instant,
}

#[derive(Debug, Clone, Default)]
struct Known {
    seen: BTreeMap<StoreId, Seen>,
    aside: BTreeMap<StoreId, Aside>,
}

/// All of it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    known: Arc<watch::Sender<Known>>,
    hang_after: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self::new(HANG_AFTER)
    }
}

impl Health {
    pub(crate) fn new(hang_after: Duration) -> Self {
        Self { known: Arc::new(watch::Sender::default()), hang_after }
    }

    /// How a store is. One that nobody has looked at yet is taken to be well: work on it finds out.
    pub(crate) fn condition(&self, store: StoreId) -> Condition {
        let known = self.known.borrow();
        match known.aside.get(&store) {
            Some(aside) if Instant::now() < aside.until => aside.condition.clone(),
            _ => known.seen.get(&store).map_or(Condition::Ok, |seen| seen.look.condition.clone()),
        }
    }

    /// What was seen of it last.
    pub(crate) fn seen(&self, store: StoreId) -> Option<Seen> {
        self.known.borrow().seen.get(&store).cloned()
    }

    /// A look is over. What could not be read is as it was seen last.
    fn note(&self, store: StoreId, path: &Path, mut look: Look, entry: Entry) {
        self.changing(store, path, |known| {
            let before = known.seen.get(&store).and_then(|seen| seen.look.usage);
            look.usage = look.usage.or(before);
            // What a look would have shown is not there any more.
            if look.condition.is_ok() {
                known.aside.retain(|id, aside| *id != store || !aside.condition.is_seen_by_looking());
            }
            known.seen.insert(store, Seen { look, entry, at: now() });
        });
    }

    /// Work on a store failed: it is set aside if that is the store's fault.
    pub(crate) fn blame(&self, store: StoreId, path: &Path, error: &StoreError) {
        let Some(condition) = Condition::told_by(error) else { return };
        let until = Instant::now() + self.hang_after * ASIDE_TIMES;
        self.changing(store, path, |known| {
            known.aside.insert(store, Aside { condition, until });
        });
    }

    fn changing(&self, store: StoreId, path: &Path, change: impl FnOnce(&mut Known)) {
        let before = self.condition(store);
        self.known.send_modify(change);
        let after = self.condition(store);
        let path = path.display();
        if before.name() == after.name() {
            return;
        }
        if after.is_ok() {
            tracing::info!(%store, %path, "the store is back: it was {}", before.name());
        } else {
            tracing::warn!(%store, %path, "the store is set aside: {after}");
        }
    }

    /// Waits until every one of `stores` was looked at, but no longer than a disk may be silent.
    pub(crate) async fn looked_at(&self, stores: &[StoreId]) {
        let mut known = self.known.subscribe();
        let all = known.wait_for(|known| stores.iter().all(|store| known.seen.contains_key(store)));
        // Late is not wrong: it is seen when it answers.
        drop(tokio::time::timeout(self.hang_after, all).await);
    }

    /// Disk work on one store, within the time that a disk may be silent. What fails sets the store aside; what takes
    /// longer does as well, and is left behind on its thread.
    pub(crate) async fn within<T: Send + 'static>(
        &self,
        store: StoreId,
        path: &Path,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = match tokio::time::timeout(self.hang_after, tokio::task::spawn_blocking(work)).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(StoreError::io("work in", path)(std::io::Error::other(error))),
            Err(_elapsed) => Err(StoreError::Silent { path: path.to_owned(), limit: self.hang_after }),
        };
        if let Err(error) = &done {
            self.blame(store, path, error);
        }
        done
    }

    /// The same for a stage: an error of the disk is why it stops.
    pub(crate) async fn halting<T: Send + 'static>(
        &self,
        store: StoreId,
        path: &Path,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Halt> {
        self.within(store, path, work).await.map_err(Halt::from)
    }

    pub(crate) const fn hang_after(&self) -> Duration {
        self.hang_after
    }
}

/// Looks at one store over and over, so that it is set aside when its disk goes, and is back when its disk is.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) health: Health,
    pub(crate) home: PathBuf,
    pub(crate) store: StoreId,
    pub(crate) path: PathBuf,
    pub(crate) persistent: bool,
    pub(crate) keep_free: u64,
    pub(crate) every: Duration,
}

impl Watch {
    /// Until told to stop. A look that does not come back has one thread, and no other look begins meanwhile.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let (store, path, persistent, keep_free) = (self.store, self.path.clone(), self.persistent, self.keep_free);
            let looking = tokio::task::spawn_blocking(move || look::look(store, &path, persistent, keep_free));
            tokio::pin!(looking);
            let began = Instant::now();
            let look = loop {
                tokio::select! {
                    looked = &mut looking => break looked?,
                    () = tokio::time::sleep(self.health.hang_after) => self.hangs(began),
                    () = stop.cancelled() => return Ok(()),
                }
            };
            self.health.note(self.store, &self.path, look, self.entry());
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn hangs(&self, began: Instant) {
        let hanging = Condition::Hanging { for_s: began.elapsed().as_secs() };
        self.health.note(self.store, &self.path, Look::without_usage(hanging), self.entry());
    }

    /// The home is on a disk of its own. What cannot be read stays as it was.
    fn entry(&self) -> Entry {
        let listed = match registered::read(&self.home) {
            Ok(listed) => listed.into_iter().find(|entry| entry.store == Some(self.store) || entry.path == self.path),
            Err(error) => {
                tracing::warn!("{:#}", anyhow::Error::from(error));
                self.health.seen(self.store).map(|seen| seen.entry)
            }
        };
        listed.unwrap_or_else(|| Entry {
            path: self.path.clone(),
            persistent: self.persistent,
            store: Some(self.store),
            ..Entry::default()
        })
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
