//! What is true of a sector.

use serde::{Deserialize, Serialize};

use super::{Attached, MessageRef, ParkReason, Placement, PreCommit, Replica, Sealed};
use crate::{
    id::{Epoch, SectorId},
    message::ArtifactRef,
    proof::{Commitment, Drawn, ProofBytes},
};

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
        /// Its replica: what sealing made, or what was attached.
        sealed: Replica,
        /// The pre-commit; `None` where a rebuild found the sector proving, or it was attached: the chain forgets it by
        /// then.
        pre_commit: Option<PreCommit>,
        /// The seed, unless a rebuild found the sector proving, or it was attached.
        seed: Option<Drawn>,
        /// The prove-commit message, unless a rebuild found the sector proving, or it was attached.
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
    /// It is promised to the chain and its files are gone or wrong: they are made again, with the same ticket.
    Resealing {
        /// How far the files are, from `Allocated` to `Pc1Done`; PC2's result ends this.
        files: Box<Self>,
        /// What is true on chain meanwhile, from `PreCommitSent` to `C2Done`; its placement is the former one.
        chain: Box<Self>,
    },
    /// It was not proven in time: number and deposit are lost, and its pieces go into a new sector.
    PreCommitExpired {
        /// The pre-commit.
        pre_commit: PreCommit,
        /// The last epoch at which it could have been proven.
        due: Epoch,
        /// What comes of its pieces.
        successor: Succession,
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
            Self::Resealing { .. } => "resealing",
            Self::PreCommitExpired { .. } => "pre-commit-expired",
            Self::Parked { .. } => "parked",
            Self::Aborted { .. } => "aborted",
        }
    }

    /// Where the local files are, once there are any.
    #[must_use]
    pub const fn placement(&self) -> Option<&Placement> {
        match self {
            Self::Allocated {} | Self::Aborted { .. } | Self::PreCommitExpired { .. } => None,
            Self::Resealing { files, .. } => files.placement(),
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

    /// The state as far as the sector's own files are concerned: while it is sealed again, that of what is made anew.
    #[must_use]
    pub const fn of_files(&self) -> &Self {
        match self {
            Self::Resealing { files, .. } => files,
            state => state,
        }
    }

    /// The state as far as the chain is concerned: what was true before the sector was sealed again.
    #[must_use]
    pub const fn of_chain(&self) -> &Self {
        match self {
            Self::Resealing { chain, .. } => chain,
            state => state,
        }
    }

    /// The pre-commit that the chain has, unless it expired.
    #[must_use]
    pub const fn pre_commit(&self) -> Option<&PreCommit> {
        match self {
            Self::PreCommitted { pre_commit, .. }
            | Self::SeedReady { pre_commit, .. }
            | Self::C1Done { pre_commit, .. }
            | Self::C2Done { pre_commit, .. }
            | Self::ProveCommitSent { pre_commit, .. } => Some(pre_commit),
            Self::Proving { pre_commit, .. } => pre_commit.as_ref(),
            Self::Resealing { chain: inner, .. } | Self::Parked { was: inner, .. } => inner.pre_commit(),
            _ => None,
        }
    }

    /// What sealing made, from PC2 on, and not while it is made again; nothing of a sector that was attached.
    #[must_use]
    pub const fn sealed(&self) -> Option<&Sealed> {
        match self {
            Self::Pc2Done { sealed }
            | Self::PreCommitSent { sealed, .. }
            | Self::PreCommitted { sealed, .. }
            | Self::SeedReady { sealed, .. }
            | Self::C1Done { sealed, .. }
            | Self::C2Done { sealed, .. }
            | Self::ProveCommitSent { sealed, .. } => Some(sealed),
            Self::Proving { sealed, .. } => sealed.sealed(),
            Self::Parked { was, .. } => was.sealed(),
            _ => None,
        }
    }

    /// The replica that others sealed, of an attached sector.
    #[must_use]
    pub const fn attached(&self) -> Option<&Attached> {
        match self {
            Self::Proving { sealed, .. } => sealed.attached(),
            Self::Parked { was, .. } => was.attached(),
            _ => None,
        }
    }

    /// CommR of its replica, whoever sealed it.
    #[must_use]
    pub fn comm_r(&self) -> Option<Commitment> {
        self.sealed().map(|sealed| sealed.comm_r).or_else(|| self.attached().map(|attached| attached.comm_r))
    }
}

/// What comes of the pieces of a sector whose pre-commit expired. Each step is recorded before the next is taken, so
/// that a crash between two of them makes one new sector and never two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Succession {
    /// A new sector is to be made.
    Wanted {},
    /// It has a number, and may not exist yet.
    Named {
        /// The new sector.
        by: SectorId,
    },
    /// It exists, or existed: it is never made again.
    Begun {
        /// The new sector.
        by: SectorId,
    },
}
