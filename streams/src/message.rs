//! Messages on streams: tasks, results and events.

use serde::{Deserialize, Serialize};

pub use crate::text::{BadText, Text, decode, encode};
use crate::{
    id::{AgentId, Epoch, Incarnation, MinerId, Place, SectorId, SectorNumber, StoreId, Timestamp},
    proof::{Commitment, ProofBytes, SealProof, Sha256},
    stage::Stage,
};

/// A pointer to work: which sector, which stage. What to do is in the sector's record; losing this message, or
/// having it twice, costs time and never a sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The sector.
    pub sector: SectorId,
    /// The stage.
    pub stage: Stage,
    /// Only for [`Stage::Unseal`], which is ordered by a person and not by the sector's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseal: Option<UnsealOrder>,
}

/// What a person asked to have read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsealOrder {
    /// Where in the sector, in unpadded bytes (a multiple of 127).
    pub offset_unpadded: u64,
    /// How many unpadded bytes to unseal (a multiple of 127).
    pub length_unpadded: u64,
    /// How many of them to deliver: the payload, without its padding.
    pub payload_bytes: u64,
    /// Where to `PUT` them.
    pub deliver_to: String,
}

impl Text for Task {
    const KIND: &'static str = "task";
    const VERSION: u64 = 1;
}

/// What came of a task. Success and failure alike are facts for the coordinator; a failure is never only a log line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskResult {
    /// The sector.
    pub sector: SectorId,
    /// The stage.
    pub stage: Stage,
    /// Who did it.
    pub agent: AgentId,
    /// Where.
    pub place: Place,
    /// Under which claim.
    pub claim: ClaimRef,
    /// When the work began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

impl Text for TaskResult {
    const KIND: &'static str = "task-result";
    const VERSION: u64 = 1;
}

/// The claim under which work was done: what fences it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRef {
    /// 1 for the first try of this stage.
    pub attempt: u32,
    /// Revision of the key in `CLAIMS`: a later claim has a higher one.
    pub fence: u64,
    /// The sector's generation (one ticket, one cache folder) when it was claimed.
    pub generation: u32,
    /// The record's incarnation when it was claimed.
    pub incarnation: Incarnation,
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// It worked.
    Done {
        /// What is now true.
        facts: Facts,
    },
    /// It did not.
    Failed {
        /// Why, and who must act.
        failure: Failure,
    },
}

/// What is true once a stage is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stage")]
pub enum Facts {
    /// Room is reserved for the sector's whole life.
    Place {
        /// In this local store.
        store: StoreId,
    },
    /// The staged file holds the pieces.
    AddPiece {
        /// Their commitments, in order, as the agent computed them.
        pieces: Vec<Commitment>,
    },
    /// The tree over the staged file is built.
    TreeD {
        /// Its root.
        comm_d: Commitment,
    },
    /// All layers are on disk.
    Pc1 {},
    /// The replica is on disk.
    Pc2 {
        /// CommD again, as the library returned it.
        comm_d: Commitment,
        /// The replica's commitment.
        comm_r: Commitment,
    },
    /// The replica is in a persistent store, fsynced under its final name.
    Persist {
        /// That store.
        store: StoreId,
        /// Digest of the sealed file, computed while it was copied.
        sealed_sha256: Sha256,
    },
    /// Vanilla proofs for the seed are stored.
    C1 {
        /// Where they are.
        artifact: ArtifactRef,
    },
    /// The proof is made.
    C2 {
        /// The proof: 192 bytes a partition.
        proof: ProofBytes,
    },
    /// Layers and big trees are gone.
    Finalize {},
    /// The bytes were delivered.
    Unseal {
        /// Digest of what was delivered.
        sha256: Sha256,
    },
}

impl Facts {
    /// The stage these are facts of.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Place { .. } => Stage::Place,
            Self::AddPiece { .. } => Stage::AddPiece,
            Self::TreeD { .. } => Stage::TreeD,
            Self::Pc1 {} => Stage::Pc1,
            Self::Pc2 { .. } => Stage::Pc2,
            Self::Persist { .. } => Stage::Persist,
            Self::C1 { .. } => Stage::C1,
            Self::C2 { .. } => Stage::C2,
            Self::Finalize {} => Stage::Finalize,
            Self::Unseal { .. } => Stage::Unseal,
        }
    }
}

/// A large thing kept outside messages, in the object store `ARTIFACTS`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRef {
    /// Its name in the object store.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest, checked on reading.
    pub sha256: Sha256,
}

/// Who must act on a failure, chosen where the error is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The same agent may try again (damocles: temporary).
    RetryHere,
    /// Another agent should try (damocles: permanent, for this machine).
    RetryElsewhere,
    /// The same agent, or another, but not before this time: what is missing is not the sector's fault, and costs it
    /// no attempt. The time is kept in the record.
    WaitUntil(Timestamp),
    /// Earlier work is wrong: go back to a stage.
    RedoFrom(Stage),
    /// The sector cannot become anything (damocles: abort).
    Abort,
    /// A person must look (damocles: critical).
    Park,
}

/// A failure as a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Who must act.
    pub class: FailureClass,
    /// A stable word for tables and counts, for example `crashed` or `no-space`.
    pub code: String,
    /// The whole cause chain, for a person.
    pub message: String,
}

/// Work on one partition of one deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostTask {
    /// The miner.
    pub miner: MinerId,
    /// The deadline's index.
    pub deadline: u64,
    /// The epoch it opens at: names this occurrence of the deadline.
    pub open: Epoch,
    /// The first epoch at which a proof no longer counts.
    pub close: Epoch,
    /// The partition's index within the deadline.
    pub partition: u64,
    /// 1 for the first try; a later try is a new subject.
    pub attempt: u32,
    /// The seal proof type of the sectors (the window PoSt type follows from it).
    pub proof: SealProof,
    /// Challenge randomness, its top two bits already cleared.
    pub randomness: crate::proof::Bytes32,
    /// What to do.
    pub work: PostWork,
}

impl Text for PostTask {
    const KIND: &'static str = "post-task";
    const VERSION: u64 = 1;
}

/// The two halves of a window PoSt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum PostWork {
    /// Read challenged leaves where the replicas are.
    Vanilla {
        /// The sectors at this place. Challenges depend on the sector's position in `order`.
        sectors: Vec<PostSector>,
        /// All proven sectors of the partition, ascending: what challenges are derived from.
        order: Vec<SectorNumber>,
    },
    /// Make the SNARK.
    Snark {
        /// Every proven sector of the partition, ascending.
        sectors: Vec<PostSector>,
        /// Vanilla proofs, one part a place.
        vanilla: Vec<VanillaPart>,
    },
}

/// Vanilla proofs made at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VanillaPart {
    /// The proofs: a JSON array of base64 strings in the order of `sectors`.
    pub artifact: ArtifactRef,
    /// The sectors they prove, as [`PostOutcome::Vanilla`] listed them.
    pub sectors: Vec<SectorNumber>,
}

/// A sector in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostSector {
    /// Its number.
    pub number: SectorNumber,
    /// Its replica's commitment, from the chain.
    pub comm_r: Commitment,
    /// The store that holds the replica.
    pub store: StoreId,
}

/// What came of a PoSt task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostResult {
    /// The miner.
    pub miner: MinerId,
    /// The epoch its deadline opens at.
    pub open: Epoch,
    /// The partition.
    pub partition: u64,
    /// Which try.
    pub attempt: u32,
    /// Who did it.
    pub agent: AgentId,
    /// Where.
    pub place: Place,
    /// When the work began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What came of it.
    pub outcome: PostOutcome,
}

impl Text for PostResult {
    const KIND: &'static str = "post-result";
    const VERSION: u64 = 1;
}

/// What came of a PoSt task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum PostOutcome {
    /// Vanilla proofs, and the sectors that could not be read (to be skipped).
    Vanilla {
        /// The proofs: a JSON array of base64 strings in the order of `proven`.
        artifact: ArtifactRef,
        /// The sectors they prove.
        proven: Vec<SectorNumber>,
        /// Sectors that could not be proven, with the reason.
        bad: Vec<(SectorNumber, String)>,
    },
    /// The SNARK.
    Snark {
        /// The proof of this partition.
        proof: ProofBytes,
    },
    /// It did not work.
    Failed {
        /// Why, and who must act.
        failure: Failure,
    },
}

/// What happened to a sector, on stream `EVENTS`: audit and live feed, never truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorEvent {
    /// The sector.
    pub sector: SectorId,
    /// The record's transition number: a gap means that an event was lost.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The state it is now in.
    pub state: String,
    /// One line for a person.
    pub what: String,
}

impl Text for SectorEvent {
    const KIND: &'static str = "sector-event";
    const VERSION: u64 = 1;
}
