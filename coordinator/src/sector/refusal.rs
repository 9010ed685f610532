//! Why an event does not count.

use streams::{
    id::{Epoch, Incarnation},
    sector::{MessageRef, SectorState},
    stage::Stage,
};

/// An event that changes nothing, and why. Ordinary on a wire that says things twice and late.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The state has no arrow for it.
    #[error("\"{event}\" does not fit a sector that is {state}")]
    NotNow { event: String, state: &'static str },
    /// It comes from an earlier generation: another ticket, another cache folder.
    #[error("{stage} is of generation {found}, the sector is in generation {current}")]
    OldGeneration { stage: Stage, found: u32, current: u32 },
    /// It was claimed in another life of the queue: before a total loss, or after the backup that was restored.
    #[error("{stage} was claimed in incarnation {found}, the sector is in {current}")]
    OtherIncarnation { stage: Stage, found: Incarnation, current: Incarnation },
    /// The ticket is not the one that the replica must be made with again.
    #[error("the sector is sealed again with its ticket of epoch {promised}, not with another")]
    OtherTicket { promised: Epoch },
    /// None of its files were there, or it can do without them.
    #[error("the sector has lost nothing there")]
    NothingLost,
    /// A person asks for a stage the sector has not come to.
    #[error("the sector waits for {next}: it cannot begin with {stage}")]
    NotThere { stage: Stage, next: String },
    /// It comes from a place that does not hold the sector's files.
    #[error("{stage} was done at {found}, the sector's files are at {current}")]
    OtherPlace { stage: Stage, found: String, current: String },
    /// It is about another message than the one the sector joined.
    #[error("it is about message {}/{}, the sector joined {}/{}", .found.sender, .found.nonce, .current.sender, .current.nonce)]
    OtherMessage { found: Box<MessageRef>, current: Box<MessageRef> },
    /// The proof was verified over a seed that is not the sector's any more.
    #[error("the proof was verified over another seed")]
    OtherSeed,
    /// A fork took a message away that a rebuild only knows from what it did on chain.
    #[error("the message of its {0} is not known since a rebuild: rebuild again to read what the chain has now")]
    MessageUnknown(&'static str),
    /// It says what is recorded already.
    #[error("{0} is recorded already")]
    Again(&'static str),
    /// A prove-commit may not be sent before the replica is in a persistent store.
    #[error("the replica is not in a persistent store yet")]
    NotPersisted,
    /// What a person asked for cannot be undone any more.
    #[error("{0}")]
    TooLate(&'static str),
}

impl Refused {
    pub(super) fn not_now(event: impl Into<String>, state: &SectorState) -> Self {
        Self::NotNow { event: event.into(), state: state.name() }
    }
}
