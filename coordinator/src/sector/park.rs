//! Why a sector waits for a person. The numbers are stable: runbooks and alerts name them.

use std::fmt;

use streams::sector::{ParkReason, SectorRecord, SectorState};

/// A numbered reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    /// One stage failed as often as `attempts_max` allows.
    AttemptsExhausted,
    /// An agent met something that only a person can judge.
    AgentAsks,
    /// An agent reports that the sector cannot be sealed, and it is already pre-committed.
    LostAfterPreCommit,
    /// Files must be made again, and the prove-commit is on its way already.
    RedoAfterPreCommit,
    /// The sector would have to move to another place.
    MustMove,
    /// Sealed again with the same ticket, the replica is another one than the chain was promised.
    OtherReplica,
    /// Its files are lost, and sealing again would end after the prove-commit is due.
    TooLateToReseal,
    /// The miner actor refuses the pre-commit.
    PreCommitRefused,
    /// The miner actor refuses the prove-commit.
    ProveCommitRefused,
    /// The pre-commit is gone from the chain: expired, or reorganised away.
    PreCommitGone,
    /// A rebuild found it on chain, and its files in no store.
    FilesLost,
    /// A rebuild found its number used on chain, and nothing of it there any more.
    NumberSpent,
}

impl Code {
    /// Every reason.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 12] = [
        Self::AttemptsExhausted,
        Self::AgentAsks,
        Self::LostAfterPreCommit,
        Self::RedoAfterPreCommit,
        Self::MustMove,
        Self::OtherReplica,
        Self::TooLateToReseal,
        Self::PreCommitRefused,
        Self::ProveCommitRefused,
        Self::PreCommitGone,
        Self::FilesLost,
        Self::NumberSpent,
    ];

    /// The number.
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::AttemptsExhausted => 1001,
            Self::AgentAsks => 1002,
            Self::LostAfterPreCommit => 1003,
            Self::RedoAfterPreCommit => 1004,
            Self::MustMove => 1005,
            Self::OtherReplica => 1006,
            Self::TooLateToReseal => 1007,
            Self::PreCommitRefused => 2001,
            Self::ProveCommitRefused => 2002,
            Self::PreCommitGone => 2003,
            Self::FilesLost => 3001,
            Self::NumberSpent => 3002,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// Parks a sector, keeping what was true. A parked one stays parked for its first reason.
pub(super) fn park(mut record: SectorRecord, code: Code, text: impl Into<String>) -> SectorRecord {
    record.state = match record.state {
        parked @ SectorState::Parked { .. } => parked,
        was => {
            SectorState::Parked { was: Box::new(was), reason: ParkReason { code: code.number(), text: text.into() } }
        }
    };
    record
}
