//! `[machine]` and `[stages.<stage>]` in `agent.toml`: what there is, and what one stage may take and is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use streams::proof::SealProof;

/// What the machine has for this agent, where that is not what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MachineSection {
    /// Cores for jobs.
    pub(crate) cores: Option<u32>,
    /// Memory for jobs.
    pub(crate) memory_bytes: Option<u64>,
    /// GPUs for jobs, counted as CUDA does by bus.
    pub(crate) gpus: Option<u32>,
    /// The sectors to expect, `32GiB`; those that came last when absent.
    pub(crate) sector_size: Option<SectorSize>,
    /// The cgroup that was delegated to this user (`deploy/create-cgroup.sh`): each prover gets one of its own in it.
    pub(crate) cgroup: Option<String>,
    /// How many jobs may hold a lock at once; one where a stage names a lock that is not here.
    pub(crate) locks: BTreeMap<String, u32>,
}

/// A sector size as people write it: `32GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SectorSize(pub(crate) SealProof);

impl TryFrom<String> for SectorSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let names = SealProof::ALL.map(SealProof::size_name);
        let found = SealProof::ALL.into_iter().find(|proof| proof.size_name() == text);
        found.map(Self).ok_or_else(|| format!("sector size {text:?}: the sizes are {}", names.join(", ")))
    }
}

impl From<SectorSize> for String {
    fn from(size: SectorSize) -> Self {
        size.0.size_name().to_owned()
    }
}

/// Settings of one stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StageSection {
    /// How long its prover may run; that of its class when absent.
    #[serde(with = "host::duration::option")]
    pub(crate) time_limit: Option<Duration>,
    /// How long its prover may neither tell of progress nor compute; 30 minutes when absent, never ended for it at 0 s.
    #[serde(with = "host::duration::option")]
    pub(crate) silence_limit: Option<Duration>,
    /// Memory that its prover may hold, mapped files not counted; no limit when absent.
    pub(crate) memory_max_bytes: Option<u64>,
    /// Sets of processors, `["0-7", "8-15"]`: each job at work has one of them, in turn.
    pub(crate) cpus: Vec<String>,
    /// The NUMA node to work on: its processors, unless `cpus` are named, and its memory.
    pub(crate) numa: Option<u32>,
    /// Variables its prover gets besides those of the agent.
    pub(crate) env: BTreeMap<String, String>,
    /// Jobs of it at once, within its class's slots.
    pub(crate) at_once: Option<u32>,
    /// From one start to the next.
    #[serde(with = "host::duration::option")]
    pub(crate) stagger: Option<Duration>,
    /// Cores that one takes, instead of the table's.
    pub(crate) cores: Option<u32>,
    /// Memory that one takes, instead of the table's.
    pub(crate) memory_bytes: Option<u64>,
    /// Locks that one holds: stages that name the same lock run by turns.
    pub(crate) locks: BTreeSet<String>,
}
