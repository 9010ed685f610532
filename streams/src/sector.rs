//! The sector record: the truth about one sector, under its key in bucket `SECTORS`.
//!
//! Only the coordinator writes it, by compare-and-set, through its pure `step(state, event, now)`. Agents and the
//! poster read it. Each variant of [`SectorState`] owns exactly what is true in that state: the diagram, and who
//! moves a sector along which arrow, open `coordinator/src/sector/mod.rs`.

use serde::{Deserialize, Serialize};

pub use self::{
    replica::{Attached, HalfReplica, Replica},
    state::{SectorState, Succession},
};
use crate::{
    id::{AgentId, Epoch, Incarnation, Place, SectorId, StoreId, Timestamp},
    message::Text,
    proof::{Commitment, Drawn, SealProof, Sha256},
    stage::Stage,
};

mod replica;
mod state;

/// Everything known about one sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorRecord {
    /// Its name.
    pub id: SectorId,
    /// Which life of the queue this record belongs to: claims, locks and results of another one do not count.
    pub incarnation: Incarnation,
    /// Its seal proof type; of an [`Attached`] sector, the one that we use for its size.
    pub proof: SealProof,
    /// Its pieces, in order of offset; none in a CC (committed capacity) sector, and in an [`Attached`] one, of whose
    /// data nothing is known.
    pub pieces: Vec<Piece>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// What is true now.
    pub state: SectorState,
    /// When it entered that state.
    pub entered_at: Timestamp,
    /// How many transitions it has made: the number of its last [`crate::message::SectorEvent`].
    pub seq: u64,
    /// The line of that event, so that one that was lost on the way can be written again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// Generations whose files were lost with their store: the next placement begins the one after them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generations_lost: u32,
    /// Failed attempts at the current stage, oldest first, at most [`ERRORS_MAX`]; emptied when a stage is done.
    pub errors: Vec<StageError>,
    /// Finished stage runs, oldest first, at most [`STORY_MAX`].
    pub story: Vec<StageRun>,
    /// Chain messages about it, oldest first.
    pub messages: Vec<MessageNote>,
}

/// Errors kept with a sector.
pub const ERRORS_MAX: usize = 16;
/// Stage runs kept with a sector.
pub const STORY_MAX: usize = 64;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl SectorRecord {
    /// A sector that was just given its number.
    #[must_use]
    pub const fn new(
        id: SectorId,
        incarnation: Incarnation,
        proof: SealProof,
        pieces: Vec<Piece>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            incarnation,
            proof,
            pieces,
            submitted_at: now,
            state: SectorState::Allocated {},
            entered_at: now,
            seq: 0,
            what: String::new(),
            generations_lost: 0,
            errors: Vec::new(),
            story: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// The failure for which this agent should leave the stage to another: it failed at it last, and said that another
    /// should try.
    #[must_use]
    pub fn failed_here(&self, stage: Stage, agent: &AgentId) -> Option<&StageError> {
        let last = self.errors.iter().rev().find(|error| error.stage == stage)?;
        (last.elsewhere && last.agent == *agent).then_some(last)
    }

    /// Whether this agent should leave the stage to another.
    #[must_use]
    pub fn shuns(&self, stage: Stage, agent: &AgentId) -> bool {
        self.failed_here(stage, agent).is_some()
    }
}

impl Text for SectorRecord {
    const KIND: &'static str = "sector-record";
    const VERSION: u64 = 1;
}

/// A piece of user data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// What the person called it: a file name or a URL.
    pub name: String,
    /// Where an agent fetches it: http(s).
    pub url: String,
    /// Bytes of payload; the rest of the piece is zeros.
    pub payload_bytes: u64,
    /// Digest of the payload.
    pub payload_sha256: Sha256,
    /// Padded size: a power of two, at least 128.
    pub padded_bytes: u64,
    /// Where it begins in the sector, padded bytes, a multiple of `padded_bytes`.
    pub offset_padded: u64,
    /// Its commitment, computed by the coordinator when it was submitted.
    pub commitment: Commitment,
}

/// Where a sector's files are while it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The place: every later bound task goes there.
    pub place: Place,
    /// The local store.
    pub store: StoreId,
    /// One ticket, one generation, one cache folder; from 1.
    pub generation: u32,
}

/// What sealing made: true from PC2 on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Where the local copy is.
    pub at: Placement,
    /// The ticket PC1 used.
    pub ticket: Drawn,
    /// Commitment to the data; checked against the pieces.
    pub comm_d: Commitment,
    /// Commitment to the replica.
    pub comm_r: Commitment,
    /// The copy in a persistent store, once it is there.
    pub persisted: Option<Persisted>,
}

/// A replica in a persistent store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persisted {
    /// The store.
    pub store: StoreId,
    /// The place through which it is reached.
    pub place: Place,
    /// Digest of the sealed file.
    pub sealed_sha256: Sha256,
}

/// A chain message by its key in the outbox: `<sender>.<nonce>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRef {
    /// The address that sends, as the chain prints key addresses (`f1…`, `f3…`).
    pub sender: String,
    /// Its nonce.
    pub nonce: u64,
}

/// A pre-commit that is on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreCommit {
    /// The message that carried it; `None` where a rebuild found it on chain and no outbox knew of it any more.
    pub message: Option<MessageRef>,
    /// `PreCommitEpoch` from `StateSectorPreCommitInfo`: the seed's epoch follows from this one, not from a receipt.
    pub epoch: Epoch,
}

/// Why a sector is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParkReason {
    /// A stable number: see the table in `coordinator/src/sector/park.rs`.
    pub code: u16,
    /// One line for a person.
    pub text: String,
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageError {
    /// When.
    pub at: Timestamp,
    /// The stage.
    pub stage: Stage,
    /// Which attempt.
    pub attempt: u32,
    /// Who tried.
    pub agent: AgentId,
    /// The stable word of the failure.
    pub code: String,
    /// The cause chain.
    pub message: String,
    /// The agent asked to be called again at this time: no attempt is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Another agent should try next.
    #[serde(default, skip_serializing_if = "is_false")]
    pub elsewhere: bool,
}

/// One finished stage run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRun {
    /// The stage.
    pub stage: Stage,
    /// When its task was published.
    pub queued_at: Timestamp,
    /// When an agent began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Who did it.
    pub agent: AgentId,
    /// Which attempt it was.
    pub attempt: u32,
}

/// A chain message about a sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageNote {
    /// `PreCommitSectorBatch2` or `ProveCommitSectors3`.
    pub method: String,
    /// Its key in the outbox.
    pub message: MessageRef,
    /// Its CID, once it is signed.
    pub cid: Option<String>,
    /// When the sector joined it.
    pub sent_at: Timestamp,
    /// When it was seen on chain.
    pub landed_at: Option<Timestamp>,
    /// The epoch it landed in.
    pub height: Option<Epoch>,
    /// The receipt's exit code.
    pub exit_code: Option<u32>,
    /// Gas used, from the receipt.
    pub gas_used: Option<i64>,
}
