//! The sector record: the truth about one sector, under its key in bucket `SECTORS`.
//!
//! Only the coordinator writes it, by compare-and-set, through its pure `step(state, event, now)`. Agents and the
//! poster read it. Each variant of [`SectorState`] owns exactly what is true in that state: the diagram, and who
//! moves a sector along which arrow, open `coordinator/src/sector/mod.rs`.

use serde::{Deserialize, Serialize};

use crate::{
    id::{AgentId, Epoch, Incarnation, Place, SectorId, StoreId, Timestamp},
    message::{ArtifactRef, Text},
    proof::{Commitment, Drawn, ProofBytes, SealProof, Sha256},
    stage::Stage,
};

/// Everything known about one sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorRecord {
    /// Its name.
    pub id: SectorId,
    /// Which life of the queue this record belongs to: claims, locks and results of another one do not count.
    pub incarnation: Incarnation,
    /// Its seal proof type.
    pub proof: SealProof,
    /// Its pieces, in order of offset; none in a CC (committed capacity) sector.
    pub pieces: Vec<Piece>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// What is true now.
    pub state: SectorState,
    /// When it entered that state.
    pub entered_at: Timestamp,
    /// How many transitions it has made: the number of its last [`crate::message::SectorEvent`].
    pub seq: u64,
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

/// What is true of a sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum SectorState {
    /// It has a number and no place.
    Allocated {},
    /// Room for its whole life is reserved in a local store.
    Placed {
        /// Where.
        at: Placement,
    },
    /// The staged file holds its pieces, or it is a CC sector and needs none.
    PiecesAdded {
        /// Where.
        at: Placement,
    },
    /// Tree-d is built and its root is what the pieces say.
    TreeDDone {
        /// Where.
        at: Placement,
        /// The root.
        comm_d: Commitment,
    },
    /// PC1 was claimed and its ticket is recorded: a redelivery uses the same one.
    Ticketed {
        /// Where.
        at: Placement,
        /// The root of tree-d.
        comm_d: Commitment,
        /// The ticket.
        ticket: Drawn,
    },
    /// All layers are on disk.
    Pc1Done {
        /// Where.
        at: Placement,
        /// The root of tree-d.
        comm_d: Commitment,
        /// The ticket.
        ticket: Drawn,
    },
    /// The replica is on disk; it waits for a pre-commit batch.
    Pc2Done {
        /// What sealing made.
        sealed: Sealed,
    },
    /// It joined a pre-commit message (which may not be signed yet).
    PreCommitSent {
        /// What sealing made.
        sealed: Sealed,
        /// The message.
        message: MessageRef,
    },
    /// The pre-commit is on chain; the seed's epoch is not reached.
    PreCommitted {
        /// What sealing made.
        sealed: Sealed,
        /// The pre-commit.
        pre_commit: PreCommit,
    },
    /// The seed is drawn.
    SeedReady {
        /// What sealing made.
        sealed: Sealed,
        /// The pre-commit.
        pre_commit: PreCommit,
        /// The seed.
        seed: Drawn,
    },
    /// Vanilla proofs are stored.
    C1Done {
        /// What sealing made.
        sealed: Sealed,
        /// The pre-commit.
        pre_commit: PreCommit,
        /// The seed.
        seed: Drawn,
        /// The vanilla proofs.
        c1: ArtifactRef,
    },
    /// The proof is made and verified; it waits for its persisted copy and for a prove-commit batch.
    C2Done {
        /// What sealing made.
        sealed: Sealed,
        /// The pre-commit.
        pre_commit: PreCommit,
        /// The seed.
        seed: Drawn,
        /// The proof.
        proof: ProofBytes,
    },
    /// It joined a prove-commit message.
    ProveCommitSent {
        /// What sealing made.
        sealed: Sealed,
        /// The pre-commit.
        pre_commit: PreCommit,
        /// The seed.
        seed: Drawn,
        /// The proof.
        proof: ProofBytes,
        /// The message.
        message: MessageRef,
    },
    /// The chain counts it among the miner's sectors; its deadline's first window PoSt is the poster's.
    Proving {
        /// What sealing made.
        sealed: Sealed,
        /// The pre-commit; `None` where a rebuild found the sector proving: the chain forgets it by then.
        pre_commit: Option<PreCommit>,
        /// The seed, unless a rebuild found the sector proving.
        seed: Option<Drawn>,
        /// The prove-commit message, unless a rebuild found the sector proving.
        prove_commit: Option<MessageRef>,
        /// `Activation` of the on-chain info.
        activation: Epoch,
        /// `Expiration` of the on-chain info.
        expiration: Epoch,
        /// Its deadline.
        deadline: u64,
        /// Its partition within the deadline.
        partition: u64,
        /// Whether layers and big trees are gone.
        finalized: bool,
    },
    /// A person must look; `retry` resumes it.
    Parked {
        /// What was true.
        was: Box<Self>,
        /// Why.
        reason: ParkReason,
    },
    /// Given up before anything was on chain.
    Aborted {
        /// Why.
        reason: String,
    },
}

impl SectorState {
    /// The name in subjects, tables and events.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Allocated {} => "allocated",
            Self::Placed { .. } => "placed",
            Self::PiecesAdded { .. } => "pieces-added",
            Self::TreeDDone { .. } => "tree-d-done",
            Self::Ticketed { .. } => "ticketed",
            Self::Pc1Done { .. } => "pc1-done",
            Self::Pc2Done { .. } => "pc2-done",
            Self::PreCommitSent { .. } => "pre-commit-sent",
            Self::PreCommitted { .. } => "pre-committed",
            Self::SeedReady { .. } => "seed-ready",
            Self::C1Done { .. } => "c1-done",
            Self::C2Done { .. } => "c2-done",
            Self::ProveCommitSent { .. } => "prove-commit-sent",
            Self::Proving { .. } => "proving",
            Self::Parked { .. } => "parked",
            Self::Aborted { .. } => "aborted",
        }
    }

    /// Where the local files are, once there are any.
    #[must_use]
    pub const fn placement(&self) -> Option<&Placement> {
        match self {
            Self::Allocated {} | Self::Aborted { .. } => None,
            Self::Placed { at }
            | Self::PiecesAdded { at }
            | Self::TreeDDone { at, .. }
            | Self::Ticketed { at, .. }
            | Self::Pc1Done { at, .. } => Some(at),
            Self::Parked { was, .. } => was.placement(),
            _ => match self.sealed() {
                Some(sealed) => Some(&sealed.at),
                None => None,
            },
        }
    }

    /// What sealing made, from PC2 on.
    #[must_use]
    pub const fn sealed(&self) -> Option<&Sealed> {
        match self {
            Self::Pc2Done { sealed }
            | Self::PreCommitSent { sealed, .. }
            | Self::PreCommitted { sealed, .. }
            | Self::SeedReady { sealed, .. }
            | Self::C1Done { sealed, .. }
            | Self::C2Done { sealed, .. }
            | Self::ProveCommitSent { sealed, .. }
            | Self::Proving { sealed, .. } => Some(sealed),
            Self::Parked { was, .. } => was.sealed(),
            _ => None,
        }
    }
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
