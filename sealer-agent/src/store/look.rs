//! One look at a store: whether it is there, and how much is in it.

use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::StatVfsMountFlags;
use streams::id::StoreId;

use super::{
    StoreError,
    condition::Condition,
    identity,
    local::{LocalStore, Usage},
    persistent::PersistentStore,
    registered::Entry,
};

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) condition: Condition,
    /// Nothing where it could not be read.
    pub(crate) usage: Option<Usage>,
}

impl Look {
    pub(crate) const fn without_usage(condition: Condition) -> Self {
        Self { condition, usage: None }
    }
}

/// Looks. Blocks for as long as the disk does.
pub(crate) fn look(store: StoreId, path: &Path, persistent: bool, keep_free: u64) -> Look {
    let seen = identity::require(path, store).and_then(|()| {
        let read_only = is_read_only(path)?;
        let usage = if persistent {
            PersistentStore::new(store, path.to_owned()).usage()
        } else {
            LocalStore::new(store, path.to_owned()).usage()
        };
        Ok((read_only, usage?))
    });
    match seen {
        Ok((read_only, usage)) => {
            let condition = if read_only {
                Condition::ReadOnly
            } else if usage.space.free <= keep_free {
                Condition::Full
            } else {
                Condition::Ok
            };
            Look { condition, usage: Some(usage) }
        }
        Err(error) => Look::without_usage(
            Condition::told_by(&error)
                .unwrap_or_else(|| Condition::Failing { why: format!("{:#}", anyhow::Error::from(error)) }),
        ),
    }
}

fn is_read_only(path: &Path) -> Result<bool, StoreError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| StoreError::io("read the space of", path)(e.into()))?;
    Ok(stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Looks at all stores at once, for a command: one that does not answer in time is hanging, and keeps nobody waiting.
/// In the order of `entries`; nothing for one whose identity nobody knows.
pub(crate) fn survey(entries: &[Entry], keep_free: u64, limit: Duration) -> Vec<Option<(StoreId, Look)>> {
    let (sender, receiver) = mpsc::channel();
    let mut found: Vec<_> = entries.iter().map(|_| None).collect();
    for (index, entry) in entries.iter().enumerate() {
        let (sender, entry) = (sender.clone(), entry.clone());
        let looked = thread::Builder::new().spawn(move || {
            let known = entry.store.map(|store| (store, entry.persistent));
            let known = known.or_else(|| {
                let identity = identity::read(&entry.path).ok().flatten()?;
                Some((identity.store, identity.persistent))
            });
            let seen = known.map(|(store, kind)| (store, look(store, &entry.path, kind, keep_free)));
            drop(sender.send((index, seen)));
        });
        drop(looked);
    }
    drop(sender);
    let mut answered = vec![false; entries.len()];
    let until = Instant::now() + limit;
    while let Ok((index, seen)) = receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if let (Some(slot), Some(mark)) = (found.get_mut(index), answered.get_mut(index)) {
            *slot = seen;
            *mark = true;
        }
    }
    for ((slot, entry), answered) in found.iter_mut().zip(entries).zip(answered) {
        if !answered {
            let hanging = Look::without_usage(Condition::Hanging { for_s: limit.as_secs() });
            *slot = entry.store.map(|store| (store, hanging));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use streams::id::Timestamp;

    use super::*;
    use crate::store::paths;

    #[test]
    fn what_is_there_and_what_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let made = identity::init(dir.path(), true, Timestamp(1)).unwrap().store;
        let seen = look(made, dir.path(), true, 0);
        assert_eq!(seen.condition, Condition::Ok);
        assert!(seen.usage.unwrap().space.total > 0);
        assert_eq!(look(made, dir.path(), true, u64::MAX).condition, Condition::Full);

        let other = StoreId(uuid::Uuid::nil());
        let found = look(other, dir.path(), true, 0).condition;
        assert_eq!(found, Condition::Missing { expected: other, found: Some(made) });
        fs::remove_file(dir.path().join(paths::IDENTITY)).unwrap();
        let found = look(made, dir.path(), true, 0).condition;
        assert_eq!(found, Condition::Missing { expected: made, found: None });
    }

    #[test]
    fn one_that_does_not_answer_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good");
        let store = identity::init(&good, false, Timestamp(1)).unwrap().store;
        // Opening a FIFO for reading waits for a writer, as a dead server's mount waits for its server.
        let stuck = dir.path().join("stuck");
        fs::create_dir(&stuck).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = stuck.join(paths::IDENTITY);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let entry = |path: &Path, store| Entry { path: path.to_owned(), store: Some(store), ..Entry::default() };
        let entries = [entry(&stuck, StoreId(uuid::Uuid::nil())), entry(&good, store)];
        let seen = survey(&entries, 0, Duration::from_secs(2));
        let names: Vec<_> = seen.iter().map(|one| one.as_ref().unwrap().1.condition.name()).collect();
        assert_eq!(names, ["hanging", "ok"]);
    }
}
