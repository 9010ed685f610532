//! The outbox: bucket `MESSAGES`, and what of it is open for one sender.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use streams::{
    error::QueueError,
    id::{Epoch, MinerId},
    kv::{Bucket, BucketName, CasError},
    nats::Nats,
    records::{Fate, OutboxEntry},
    sector::MessageRef,
};

use super::{SendError, verdict::is_settled};

/// An entry that is not settled, and the revision to change it from.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) value: OutboxEntry,
    pub(super) revision: u64,
}

pub(super) struct Outbox {
    bucket: Bucket<OutboxEntry>,
    sender: String,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// By nonce. A later message waits for an earlier one, so they are looked after in this order.
    open: BTreeMap<u64, Open>,
    /// Settled by confidence and not final: a deep fork may still take their landing away.
    landed: BTreeMap<u64, Open>,
    /// One more than the highest nonce in the bucket.
    next: u64,
}

impl Outbox {
    pub(super) async fn open(nats: &Nats, sender: String) -> Result<Self, SendError> {
        let bucket = match Bucket::open(nats, BucketName::Messages).await {
            Ok(bucket) => bucket,
            Err(source) => return Err(SendError::Queue { sender, source }),
        };
        let outbox = Self { bucket, sender, memory: Mutex::default() };
        outbox.reload().await?;
        Ok(outbox)
    }

    /// Takes up what is in the bucket now, and nothing else: after a rebuild, what this process remembers of an earlier
    /// life of the queue must not be pushed.
    pub(super) async fn reload(&self) -> Result<(), SendError> {
        let there = self.bucket.entries(&format!("{}.*", self.sender)).await.map_err(|e| self.failed(e))?;
        self.with(|memory| {
            *memory = Memory::default();
            for entry in there {
                memory.take_up(entry.value, entry.revision);
            }
        });
        Ok(())
    }

    pub(super) fn sender(&self) -> &str {
        &self.sender
    }

    /// The nonce to use when the node names `pending` as the next: never one that is in the outbox already, since the
    /// node may have lost its pool.
    pub(super) fn next_nonce(&self, pending: u64) -> u64 {
        self.with(|memory| memory.next.max(pending))
    }

    /// The method of an entry that is not final; `None` when all are.
    pub(super) fn any(&self) -> Option<String> {
        self.with(|memory| memory.open.values().chain(memory.landed.values()).next().map(|e| e.value.method.clone()))
    }

    /// Settled entries that landed above `height`.
    pub(super) fn landed_above(&self, height: Epoch) -> Vec<Open> {
        let above = |entry: &&Open| landing(&entry.value).is_some_and(|landed| landed > height);
        self.with(|memory| memory.landed.values().filter(above).cloned().collect())
    }

    /// Settled entries that landed below `height` are final: nothing is watched any more.
    pub(super) fn forget_landed_below(&self, height: Epoch) {
        self.with(|memory| memory.landed.retain(|_, entry| landing(&entry.value).is_some_and(|at| at >= height)));
    }

    /// Nonces from `first` on, below the highest open one, that have no open entry; at most `limit`.
    pub(super) fn missing_from(&self, first: u64, limit: usize) -> Vec<u64> {
        self.with(|memory| {
            let end = memory.open.last_key_value().map_or(first, |(nonce, _)| *nonce);
            (first..end).filter(|nonce| !memory.open.contains_key(nonce)).take(limit).collect()
        })
    }

    /// The miner of the first open entry after `nonce`.
    pub(super) fn miner_waiting_behind(&self, nonce: u64) -> Option<MinerId> {
        self.with(|memory| memory.open.range(nonce..).next().map(|(_, entry)| entry.value.miner))
    }

    /// Takes up the entry of this name, if there is one. Whether there is.
    pub(super) async fn take_up(&self, message: &MessageRef) -> Result<bool, SendError> {
        let found = self.bucket.get(&key(message)).await.map_err(|e| self.failed(e))?;
        let is_there = found.is_some();
        if let Some(entry) = found {
            self.with(|memory| memory.take_up(entry.value, entry.revision));
        }
        Ok(is_there)
    }

    pub(super) fn open_entries(&self) -> Vec<Open> {
        self.with(|memory| memory.open.values().cloned().collect())
    }

    pub(super) async fn get(&self, message: &MessageRef) -> Result<Option<OutboxEntry>, SendError> {
        let found = self.bucket.get(&key(message)).await.map_err(|e| self.failed(e))?;
        Ok(found.map(|entry| entry.value))
    }

    /// Creates the entry. Whoever creates a key owns the nonce; an answer that was lost on the way is told from a lost
    /// race by reading back which bytes are there. The same bytes are the same message, whoever wrote them.
    pub(super) async fn journal(&self, entry: OutboxEntry) -> Result<(), SendError> {
        let key = key(&entry.message);
        let revision = match self.bucket.create(&key, &entry).await {
            Ok(revision) => revision,
            Err(error) => {
                let there = self.bucket.get(&key).await.map_err(|e| self.failed(e))?;
                match (there, error) {
                    (Some(there), _) if there.value.signed == entry.signed => there.revision,
                    (Some(there), _) => {
                        let nonce = entry.message.nonce;
                        self.with(|memory| memory.take_up(there.value, there.revision));
                        return Err(SendError::NonceTaken { sender: self.sender.clone(), nonce });
                    }
                    (None, CasError::Queue(source)) => return Err(self.failed(source)),
                    (None, CasError::Lost { .. }) => {
                        let nonce = entry.message.nonce;
                        return Err(SendError::NonceTaken { sender: self.sender.clone(), nonce });
                    }
                }
            }
        };
        self.with(|memory| memory.take_up(entry, revision));
        Ok(())
    }

    /// Records a new fate. When another process was first, its version is taken up and `None` returned: the next look
    /// decides anew.
    pub(super) async fn amend(&self, open: Open, fate: Fate) -> Result<Option<OutboxEntry>, SendError> {
        let changed = OutboxEntry { fate, ..open.value };
        let key = key(&changed.message);
        match self.bucket.update(&key, &changed, open.revision).await {
            Ok(revision) => {
                self.with(|memory| memory.take_up(changed.clone(), revision));
                Ok(Some(changed))
            }
            Err(CasError::Lost { .. }) => {
                if let Some(there) = self.bucket.get(&key).await.map_err(|e| self.failed(e))? {
                    self.with(|memory| memory.take_up(there.value, there.revision));
                }
                Ok(None)
            }
            Err(CasError::Queue(source)) => Err(self.failed(source)),
        }
    }

    fn failed(&self, source: QueueError) -> SendError {
        SendError::Queue { sender: self.sender.clone(), source }
    }

    fn with<R>(&self, use_it: impl FnOnce(&mut Memory) -> R) -> R {
        // Every change is one insert or remove, so a panic elsewhere cannot have left it half done.
        use_it(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Memory {
    fn take_up(&mut self, value: OutboxEntry, revision: u64) {
        let nonce = value.message.nonce;
        let known = self.open.get(&nonce).or_else(|| self.landed.get(&nonce));
        // What was read before another change was heard of is old.
        if known.is_some_and(|known| known.revision > revision) {
            return;
        }
        self.next = self.next.max(nonce.saturating_add(1));
        self.open.remove(&nonce);
        self.landed.remove(&nonce);
        let is_settled = is_settled(&value.fate);
        let entry = Open { value, revision };
        if !is_settled {
            self.open.insert(nonce, entry);
        } else if landing(&entry.value).is_some() {
            self.landed.insert(nonce, entry);
        }
    }
}

/// The height an entry landed at.
const fn landing(entry: &OutboxEntry) -> Option<Epoch> {
    match entry.fate {
        Fate::Landed { height, .. } => Some(height),
        Fate::Journaled {} | Fate::Pushed { .. } | Fate::Displaced { .. } => None,
    }
}

fn key(message: &MessageRef) -> String {
    format!("{}.{}", message.sender, message.nonce)
}
