//! The services' JSON as the checker looks at it: only what is judged, whatever else is there.

use serde::Deserialize;

/// A sector's record.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Sector {
    #[serde(default)]
    pub(super) incarnation: u32,
    #[serde(default)]
    pub(super) submitted_at: u64,
    pub(super) state: State,
    pub(super) seq: u64,
    #[serde(default)]
    pub(super) what: String,
    #[serde(default)]
    pub(super) generations_lost: u32,
    #[serde(default)]
    pub(super) pieces: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(super) errors: Vec<StageError>,
    #[serde(default)]
    pub(super) story: Vec<StageRun>,
    #[serde(default)]
    pub(super) messages: Vec<Note>,
}

/// A state: the union of what states say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct State {
    pub(super) is: String,
    pub(super) was: Option<Box<Self>>,
    pub(super) reason: Option<Reason>,
    at: Option<Placement>,
    ticket: Option<Drawn>,
    comm_d: Option<String>,
    sealed: Option<Sealed>,
    pub(super) message: Option<MessageRef>,
    pub(super) pre_commit: Option<PreCommit>,
    pub(super) seed: Option<Drawn>,
    #[serde(default)]
    pub(super) finalized: bool,
    /// While it is sealed again: the files, and the chain.
    pub(super) files: Option<Box<Self>>,
    /// See `files`.
    pub(super) chain: Option<Box<Self>>,
    /// Of an expired pre-commit.
    pub(super) successor: Option<Successor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Successor {
    pub(super) is: String,
}

/// Why it is parked, or aborted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Reason {
    Parked { code: u16 },
    Words(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Placement {
    pub(super) generation: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub(super) struct Drawn {
    pub(super) epoch: i64,
    pub(super) value: String,
}

/// What sealing made; of a sector that others sealed, CommR alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Sealed {
    at: Option<Placement>,
    ticket: Option<Drawn>,
    comm_d: Option<String>,
    comm_r: String,
    persisted: Option<Persisted>,
    /// Where an attached one is.
    store: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Persisted {
    pub(super) store: String,
    pub(super) sealed_sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub(super) struct MessageRef {
    pub(super) sender: String,
    pub(super) nonce: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct PreCommit {
    pub(super) epoch: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct StageError {
    pub(super) stage: String,
    pub(super) attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct StageRun {
    pub(super) stage: String,
    pub(super) ended_at: u64,
    pub(super) agent: String,
    pub(super) attempt: u32,
}

/// A chain message about it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Note {
    pub(super) message: MessageRef,
    pub(super) exit_code: Option<u32>,
}

impl State {
    /// What was true when it was parked, or what is.
    pub(super) fn within(&self) -> &Self {
        self.was.as_deref().map_or(self, Self::within)
    }

    /// As far as its own files are concerned.
    fn of_files(&self) -> &Self {
        let state = self.within();
        state.files.as_deref().unwrap_or(state)
    }

    /// As far as the chain is concerned.
    pub(super) fn of_chain(&self) -> &Self {
        let state = self.within();
        state.chain.as_deref().unwrap_or(state)
    }

    pub(super) fn generation(&self) -> Option<u32> {
        let state = self.of_files();
        state.at.as_ref().or_else(|| state.sealed.as_ref()?.at.as_ref()).map(|at| at.generation)
    }

    pub(super) fn ticket(&self) -> Option<&Drawn> {
        let state = self.of_files();
        state.ticket.as_ref().or_else(|| state.sealed.as_ref()?.ticket.as_ref())
    }

    pub(super) fn comm_d(&self) -> Option<&str> {
        let state = self.within();
        state.sealed.as_ref().and_then(|sealed| sealed.comm_d.as_ref()).or(state.comm_d.as_ref()).map(String::as_str)
    }

    pub(super) fn comm_r(&self) -> Option<&str> {
        self.within().sealed.as_ref().map(|sealed| sealed.comm_r.as_str())
    }

    pub(super) fn persisted(&self) -> Option<&Persisted> {
        self.within().sealed.as_ref()?.persisted.as_ref()
    }

    /// Whether others sealed it, so that it has neither ticket nor copy, and the chain had it before there was a record.
    pub(super) fn is_attached(&self) -> bool {
        self.within().sealed.as_ref().is_some_and(|sealed| sealed.store.is_some())
    }

    pub(super) fn is_parked(&self) -> bool {
        self.is == "parked"
    }
}

/// A claim on a stage.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claim {
    pub(super) agent: String,
    pub(super) attempt: u32,
    pub(super) generation: u32,
    #[serde(default)]
    pub(super) incarnation: u32,
    pub(super) claimed_at: u64,
}

/// What an agent reported.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TaskResult {
    pub(super) sector: String,
    pub(super) stage: String,
    pub(super) agent: String,
    pub(super) claim: ClaimRef,
    pub(super) ended_at: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ClaimRef {
    pub(super) attempt: u32,
    pub(super) generation: u32,
    #[serde(default)]
    pub(super) incarnation: u32,
}

/// An entry of the outbox.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct OutboxEntry {
    pub(super) message: MessageRef,
    pub(super) method: String,
    pub(super) miner: String,
    pub(super) sectors: Vec<u64>,
    pub(super) signed: Vec<Signed>,
    pub(super) fate: Fate,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Signed {
    pub(super) cid: String,
    pub(super) bytes: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Fate {
    pub(super) is: String,
    pub(super) exit_code: Option<u32>,
    pub(super) return_value: Option<String>,
}

/// An audit event.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Event {
    pub(super) sector: String,
    pub(super) seq: u64,
    pub(super) state: String,
}

/// A store as its agents see it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StoreRecord {
    pub(super) bytes_total: u64,
    pub(super) bytes_reserved: u64,
    pub(super) persistent: bool,
}

/// What lies with a sector's files.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Manifest {
    pub(super) tag: Option<Tag>,
    #[serde(default)]
    pub(super) done: Vec<Done>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Tag {
    pub(super) generation: u32,
    pub(super) ticket: Drawn,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Done {
    pub(super) stage: String,
    pub(super) comm_r: Option<String>,
}
