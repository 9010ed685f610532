//! What can happen to a sector.

use streams::{
    id::{AgentId, Epoch, Place, SectorId, StoreId, Timestamp},
    message::{ClaimRef, Facts, Failure},
    proof::{Drawn, ProofBytes},
    sector::MessageRef,
    stage::Stage,
};

/// Something that happened. Facts of agents are verified before they become events; [`super::step`] judges only
/// whether they fit the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A stage is done and what it claims was checked.
    Done(Box<Done>),
    /// A stage failed, or what it claimed is not true.
    Failed(Box<Failed>),
    /// PC1 was claimed and a ticket drawn for it.
    TicketDrawn { ticket: Drawn },
    /// The ticket cannot be pre-committed any more at this head.
    TicketExpired { head: Epoch },
    /// It joins a pre-commit message that is not signed yet.
    JoinedPreCommit { message: MessageRef },
    /// It joins a prove-commit message that is not signed yet.
    JoinedProveCommit { message: MessageRef },
    /// The message it joined was never signed, or does not carry it.
    NeverSent { message: MessageRef },
    /// The chain has its pre-commit.
    PreCommitLanded { landing: Landing, epoch: Epoch },
    /// The chain counts it among the miner's sectors.
    ProveCommitLanded { landing: Landing, on_chain: OnChain },
    /// Its message landed and did nothing for it. `sector_code` is its own exit code in a batch that went through.
    MessageFailed { landing: Landing, sector_code: Option<u32> },
    /// The seed was drawn, or drawn again after a reorganisation of the chain.
    SeedDrawn { seed: Drawn },
    /// A fork took its pre-commit off the chain, or put it into another epoch: the same message is awaited again.
    PreCommitReorged { message: MessageRef },
    /// A fork took its prove-commit, with this proof, off the chain or moved it: the same message is awaited again.
    ProveCommitReorged { message: MessageRef, proof: ProofBytes },
    /// Its prove-commit landed and failed because a fork had moved the pre-commit, to `epoch` or off the chain, or
    /// had changed the seed.
    ProveCommitVoid { landing: Landing, exit_code: u32, epoch: Option<Epoch> },
    /// The chain would refuse it, alone and for good.
    Rejected { code: super::park::Code, text: String },
    /// A store is lost, and with it whatever files of this sector were there.
    StoreLost(LostStore),
    /// Its pre-commit was not proven in time, and the chain has forgotten it.
    PreCommitExpired { due: Epoch },
    /// A number was given to the sector that takes its pieces over.
    SuccessorNamed { by: SectorId },
    /// That sector exists.
    SuccessorBegun { by: SectorId },
    /// A person says: go on, from where it was parked or from an earlier stage.
    Retry { from: Option<Stage> },
    /// A person says: give up.
    Abort { reason: String },
}

impl Event {
    /// The event's name in refusals and logs.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Done(done) => format!("{} done", done.facts.stage()),
            Self::Failed(failed) => format!("{} failed", failed.stage),
            Self::TicketDrawn { .. } => "ticket drawn".to_owned(),
            Self::TicketExpired { .. } => "ticket expired".to_owned(),
            Self::JoinedPreCommit { .. } => "joined a pre-commit".to_owned(),
            Self::JoinedProveCommit { .. } => "joined a prove-commit".to_owned(),
            Self::NeverSent { .. } => "message never sent".to_owned(),
            Self::PreCommitLanded { .. } => "pre-commit landed".to_owned(),
            Self::ProveCommitLanded { .. } => "prove-commit landed".to_owned(),
            Self::MessageFailed { .. } => "message failed".to_owned(),
            Self::SeedDrawn { .. } => "seed drawn".to_owned(),
            Self::PreCommitReorged { .. } => "pre-commit reorganised away".to_owned(),
            Self::ProveCommitReorged { .. } => "prove-commit reorganised away".to_owned(),
            Self::ProveCommitVoid { .. } => "prove-commit void".to_owned(),
            Self::Rejected { .. } => "rejected by the chain".to_owned(),
            Self::StoreLost(_) => "store lost".to_owned(),
            Self::PreCommitExpired { .. } => "pre-commit expired".to_owned(),
            Self::SuccessorNamed { .. } => "successor named".to_owned(),
            Self::SuccessorBegun { .. } => "successor begun".to_owned(),
            Self::Retry { .. } => "retry".to_owned(),
            Self::Abort { .. } => "abort".to_owned(),
        }
    }

    /// Whether it tells of the chain alone, whatever the sector's files are.
    pub(super) const fn is_of_chain(&self) -> bool {
        match self {
            Self::JoinedPreCommit { .. }
            | Self::JoinedProveCommit { .. }
            | Self::NeverSent { .. }
            | Self::PreCommitLanded { .. }
            | Self::ProveCommitLanded { .. }
            | Self::MessageFailed { .. }
            | Self::SeedDrawn { .. }
            | Self::PreCommitReorged { .. }
            | Self::ProveCommitReorged { .. }
            | Self::ProveCommitVoid { .. }
            | Self::Rejected { .. } => true,
            Self::Done(_)
            | Self::Failed(_)
            | Self::TicketDrawn { .. }
            | Self::TicketExpired { .. }
            | Self::StoreLost(_)
            | Self::PreCommitExpired { .. }
            | Self::SuccessorNamed { .. }
            | Self::SuccessorBegun { .. }
            | Self::Retry { .. }
            | Self::Abort { .. } => false,
        }
    }
}

/// A store that will not come back, with what deciding about it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostStore {
    pub(crate) store: StoreId,
    /// The chain's height now.
    pub(crate) head: Epoch,
    /// How long after its pre-commit a sector may be proven.
    pub(crate) prove_commit_max: Epoch,
}

/// A finished stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) facts: Facts,
    pub(crate) agent: AgentId,
    pub(crate) place: Place,
    pub(crate) claim: ClaimRef,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    /// For C2: the seed the proof was verified against.
    pub(crate) verified_over: Option<Drawn>,
}

/// A failed stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) stage: Stage,
    pub(crate) agent: AgentId,
    pub(crate) place: Place,
    pub(crate) claim: ClaimRef,
    pub(crate) at: Timestamp,
    pub(crate) failure: Failure,
}

/// A message that is in a tipset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Landing {
    pub(crate) message: MessageRef,
    pub(crate) cid: String,
    pub(crate) height: Epoch,
    pub(crate) exit_code: u32,
    pub(crate) gas_used: i64,
}

/// A proven sector as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnChain {
    pub(crate) activation: Epoch,
    pub(crate) expiration: Epoch,
    pub(crate) deadline: u64,
    pub(crate) partition: u64,
}
