//! What this coordinator remembers of the queue, in its own data folder.
//!
//! The queue can be lost whole, or be put back to an older state, and would not know. `memory.json` does: which life of
//! the queue it was, how far it had come, which sector numbers and nonces were used. Numbers are remembered before they
//! are used, in blocks, so that a number is never below what is remembered.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use host::exit::{CliError, Exit};
use serde::{Deserialize, Serialize};
use streams::{
    id::{AgentId, Incarnation, MinerId, SectorNumber, Timestamp},
    kv::BucketName,
    message::{Text, decode, encode},
    records::ClusterRecord,
};

/// Its file in the data folder.
const FILE: &str = "memory.json";
/// Numbers remembered ahead at once, so that giving numbers does not cost a disk write each.
const NUMBERS_AHEAD: u64 = 1_000;
/// An agent not heard of for so long is not expected back.
const AGENT_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// The buckets whose progress is remembered: none of them ever goes back.
pub(crate) const WATCHED: [BucketName; 3] = [BucketName::Sectors, BucketName::Numbers, BucketName::Messages];

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// The life of the queue.
    pub(crate) life: ClusterRecord,
    /// The last sequence seen, by stream.
    pub(crate) sequences: BTreeMap<String, u64>,
    /// No number above this was given, by miner.
    pub(crate) numbers: BTreeMap<MinerId, SectorNumber>,
    /// The highest nonce seen in the outbox, by sender.
    pub(crate) nonces: BTreeMap<String, u64>,
    /// Agents, and when they were last heard of.
    pub(crate) agents: BTreeMap<AgentId, Timestamp>,
}

impl Text for Memory {
    const KIND: &'static str = "coordinator-memory";
    const VERSION: u64 = 1;
}

impl Memory {
    pub(crate) const fn of(life: ClusterRecord) -> Self {
        Self {
            life,
            sequences: BTreeMap::new(),
            numbers: BTreeMap::new(),
            nonces: BTreeMap::new(),
            agents: BTreeMap::new(),
        }
    }

    /// The same miner's and sender's past in another life of the queue, whose streams count anew.
    pub(crate) fn in_life(self, life: ClusterRecord) -> Self {
        Self { life, sequences: BTreeMap::new(), ..self }
    }

    pub(crate) const fn incarnation(&self) -> Incarnation {
        self.life.incarnation
    }

    /// Takes in what another folder remembered of numbers and nonces, and whom it had heard.
    pub(crate) fn learn(&mut self, other: &Self) {
        for (miner, number) in &other.numbers {
            let known = self.numbers.entry(*miner).or_insert(*number);
            *known = (*number).max(*known);
        }
        for (sender, nonce) in &other.nonces {
            rise(&mut self.nonces, sender.clone(), *nonce);
        }
        for (agent, heard) in &other.agents {
            rise(&mut self.agents, agent.clone(), *heard);
        }
    }

    /// Takes in what was seen. Nothing ever falls.
    pub(crate) fn saw(&mut self, seen: Seen, now: Timestamp) {
        for (stream, sequence) in seen.sequences {
            rise(&mut self.sequences, stream, sequence);
        }
        for (sender, nonce) in seen.nonces {
            rise(&mut self.nonces, sender, nonce);
        }
        self.agents.extend(seen.agents.into_iter().map(|agent| (agent, now)));
        self.agents.retain(|_, heard| now.ms_since(*heard) < AGENT_KEPT_MS);
    }
}

fn rise<K: Ord, V: Ord + Copy + Default>(all: &mut BTreeMap<K, V>, key: K, value: V) {
    let known = all.entry(key).or_default();
    *known = value.max(*known);
}

/// The queue at one moment, as far as it is remembered.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sequences: BTreeMap<String, u64>,
    pub(crate) nonces: BTreeMap<String, u64>,
    pub(crate) agents: Vec<AgentId>,
}

/// A memory that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", path.display())]
pub(crate) struct MemoryError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    path: PathBuf,
    kept: Mutex<Option<Memory>>,
}

impl MemoryFile {
    /// Reads the memory in a data folder; there is none before the first start.
    pub(crate) fn open(data: &Path) -> Result<Self, CliError> {
        let path = data.join(FILE);
        let failed = |exit| CliError::new(exit, format!("read {}", path.display()));
        let kept = match host::durable::read(&path).map_err(|e| failed(Exit::Io).because(e))? {
            Some(bytes) => Some(decode(&bytes).map_err(|e| failed(Exit::Data).because(e))?),
            None => None,
        };
        Ok(Self { path, kept: Mutex::new(kept) })
    }

    /// Reads the file again: a rebuild in another process may have written it.
    pub(crate) fn reload(&self) -> Result<(), MemoryError> {
        let failed = |source| MemoryError { what: "read", path: self.path.clone(), source };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = host::durable::read(&self.path).map_err(|e| failed(Box::new(e)))? {
            *kept = Some(decode(&bytes).map_err(|e| failed(Box::new(e)))?);
        }
        Ok(())
    }

    /// Where it is, for hints.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is remembered.
    pub(crate) fn get(&self) -> Option<Memory> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers this instead, durably when it returns.
    pub(crate) fn put(&self, memory: Memory) -> Result<(), MemoryError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut kept, memory)
    }

    /// Takes in what was seen, durably when it returns. Without a memory there is nothing to add to.
    pub(crate) fn saw(&self, seen: Seen, now: Timestamp) -> Result<(), MemoryError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut memory) = kept.clone() else { return Ok(()) };
        memory.saw(seen, now);
        self.write(&mut kept, memory)
    }

    /// Remembers that numbers up to this one are given, before the first of them is.
    pub(crate) fn reserve(&self, miner: MinerId, up_to: SectorNumber) -> Result<(), MemoryError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut memory) = kept.clone() else { return Ok(()) };
        if memory.numbers.get(&miner).is_some_and(|known| *known >= up_to) {
            return Ok(());
        }
        memory.numbers.insert(miner, SectorNumber(up_to.0.saturating_add(NUMBERS_AHEAD)));
        self.write(&mut kept, memory)
    }

    fn write(&self, kept: &mut Option<Memory>, memory: Memory) -> Result<(), MemoryError> {
        if kept.as_ref() == Some(&memory) {
            return Ok(());
        }
        let failed = |source| MemoryError { what: "write", path: self.path.clone(), source };
        let text = encode(&memory).map_err(|e| failed(Box::new(e)))?;
        host::durable::write(&self.path, &text).map_err(|e| failed(Box::new(e)))?;
        *kept = Some(memory);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life() -> ClusterRecord {
        ClusterRecord {
            incarnation: Incarnation(3),
            network: "n".to_owned(),
            began_at: Timestamp(5),
            because: "first start".to_owned(),
        }
    }

    #[test]
    fn what_is_remembered_is_on_disk_and_never_falls() {
        let data = tempfile::tempdir().unwrap();
        let file = MemoryFile::open(data.path()).unwrap();
        assert_eq!(file.get(), None);
        file.put(Memory::of(life())).unwrap();
        for sequence in [7, 4] {
            let sequences = BTreeMap::from([("KV_SECTORS".to_owned(), sequence)]);
            file.saw(Seen { sequences, ..Seen::default() }, Timestamp(9)).unwrap();
        }
        let again = MemoryFile::open(data.path()).unwrap().get().unwrap();
        assert_eq!(again.sequences.get("KV_SECTORS"), Some(&7));
        assert_eq!(Some(again), file.get());
    }

    #[test]
    fn numbers_are_remembered_ahead_in_blocks() {
        let data = tempfile::tempdir().unwrap();
        let file = MemoryFile::open(data.path()).unwrap();
        file.put(Memory::of(life())).unwrap();
        let miner = MinerId(1000);
        let known = || file.get().unwrap().numbers.get(&miner).copied();
        file.reserve(miner, SectorNumber(5)).unwrap();
        assert_eq!(known(), Some(SectorNumber(1_005)));
        file.reserve(miner, SectorNumber(1_005)).unwrap();
        assert_eq!(known(), Some(SectorNumber(1_005)), "still within the block");
        file.reserve(miner, SectorNumber(1_006)).unwrap();
        assert_eq!(known(), Some(SectorNumber(2_006)));
    }

    #[test]
    fn an_agent_that_is_long_gone_is_not_expected_back() {
        let mut memory = Memory::of(life());
        let agents = |name: &str| Seen { agents: vec![name.parse().unwrap()], ..Seen::default() };
        memory.saw(agents("old"), Timestamp(0));
        memory.saw(agents("new"), Timestamp(AGENT_KEPT_MS));
        assert_eq!(memory.agents.keys().map(AgentId::as_str).collect::<Vec<_>>(), ["new"]);
    }
}
