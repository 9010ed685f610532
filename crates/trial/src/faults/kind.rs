//! The kinds of faults: the rows of the table in RELIABILITY.md that this suite injects.

use std::fmt;

use streams::stage::Stage;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    AgentKilled,
    AgentFrozen,
    CoordinatorKilled,
    PosterKilled,
    ServerKilled,
    AllServersKilled,
    QueueWiped,
    Partition,
    BadLine,
    MessageLost,
    Duplicate,
    NodeLies,
    Reorg,
    PushLost,
    StoreFull,
    TornFile,
    ProverFails,
    Forged,
    Purged,
    TwoLeaders,
}

impl Kind {
    pub(super) const ALL: [Self; 20] = [
        Self::AgentKilled,
        Self::AgentFrozen,
        Self::CoordinatorKilled,
        Self::PosterKilled,
        Self::ServerKilled,
        Self::AllServersKilled,
        Self::QueueWiped,
        Self::Partition,
        Self::BadLine,
        Self::MessageLost,
        Self::Duplicate,
        Self::NodeLies,
        Self::Reorg,
        Self::PushLost,
        Self::StoreFull,
        Self::TornFile,
        Self::ProverFails,
        Self::Forged,
        Self::Purged,
        Self::TwoLeaders,
    ];

    /// Its row.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::AgentKilled => 1,
            Self::AgentFrozen => 2,
            Self::CoordinatorKilled => 3,
            Self::PosterKilled => 4,
            Self::ServerKilled => 5,
            Self::AllServersKilled => 6,
            Self::QueueWiped => 7,
            Self::Partition => 10,
            Self::BadLine => 11,
            Self::MessageLost => 12,
            Self::Duplicate => 13,
            Self::NodeLies => 14,
            Self::Reorg => 15,
            Self::PushLost => 16,
            Self::StoreFull => 17,
            Self::TornFile => 19,
            Self::ProverFails => 20,
            Self::Forged => 22,
            Self::Purged => 24,
            Self::TwoLeaders => 26,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AgentKilled => "agent killed",
            Self::AgentFrozen => "agent stopped past ack_wait, then continued",
            Self::CoordinatorKilled => "coordinator killed",
            Self::PosterKilled => "poster killed inside a deadline",
            Self::ServerKilled => "nats-server killed, of three the leader",
            Self::AllServersKilled => "all three nats-servers killed",
            Self::QueueWiped => "queue wiped and rebuilt",
            Self::Partition => "cut off from the queue",
            Self::BadLine => "slow, silent or reset line to the queue",
            Self::MessageLost => "answer or acknowledgement lost",
            Self::Duplicate => "stale pointer or old result again",
            Self::NodeLies => "node stalls, fails or lies",
            Self::Reorg => "reorg",
            Self::PushLost => "push dropped, or its answer lost",
            Self::StoreFull => "local store full",
            Self::TornFile => "torn file in a store",
            Self::ProverFails => "prover crashes, hangs, talks nonsense",
            Self::Forged => "forged result",
            Self::Purged => "TASKS purged by mistake",
            Self::TwoLeaders => "two that believe they lead",
        }
    }

    /// How often a plan of the standard size has it, besides failpoints.
    pub(super) const fn count(self) -> u32 {
        match self {
            // In the cluster with three alone.
            Self::AllServersKilled => 0,
            Self::QueueWiped => 1,
            Self::TwoLeaders => 3,
            Self::StoreFull | Self::TornFile | Self::Purged => 5,
            Self::CoordinatorKilled | Self::ServerKilled | Self::PushLost => 8,
            Self::AgentFrozen
            | Self::PosterKilled
            | Self::MessageLost
            | Self::Duplicate
            | Self::Reorg
            | Self::ProverFails
            | Self::BadLine
            | Self::Forged => 12,
            Self::Partition | Self::NodeLies => 14,
            Self::AgentKilled => 36,
        }
    }

    /// Who carries it out: faults of one lane follow each other, lanes run beside each other.
    pub(super) const fn lane(self) -> Lane {
        match self {
            Self::AgentKilled | Self::AgentFrozen | Self::Partition | Self::BadLine => Lane::Agents,
            Self::MessageLost | Self::Duplicate | Self::Forged => Lane::Messages,
            Self::StoreFull | Self::TornFile | Self::ProverFails => Lane::Files,
            Self::CoordinatorKilled | Self::NodeLies | Self::PushLost | Self::TwoLeaders => Lane::Coordinators,
            Self::PosterKilled => Lane::Posters,
            Self::ServerKilled | Self::AllServersKilled | Self::Reorg | Self::Purged => Lane::Surroundings,
            Self::QueueWiped => Lane::Alone,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Faults that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    Agents,
    Messages,
    Files,
    Coordinators,
    Posters,
    Surroundings,
    /// When all others are done.
    Alone,
}

/// One fault of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// Counts the faults of its kind: variants of a kind take turns by it.
    pub(super) turn: u32,
    /// Where the process is to die, for kills at a failpoint.
    pub(super) failpoint: Option<String>,
}

impl Fault {
    /// The stage in which an agent is to be hit.
    pub(super) fn stage(&self) -> Stage {
        const STAGES: [Stage; 8] = [
            Stage::Pc1,
            Stage::C2,
            Stage::Pc2,
            Stage::TreeD,
            Stage::C1,
            Stage::Finalize,
            Stage::AddPiece,
            Stage::Persist,
        ];
        pick(&STAGES, self.turn).unwrap_or(Stage::Pc1)
    }

    /// A stable word for the evidence.
    pub(super) fn word(&self) -> String {
        self.failpoint.clone().unwrap_or_else(|| format!("row-{}", self.kind.number()))
    }

    /// Invariants that cannot be asked for while it lasts. A window is missed when no poster runs, or when neither
    /// poster reaches the queue: I15 is promised for one poster and two servers that are up.
    ///
    /// A recorder whose server is killed may miss versions of a record (E1).
    pub(super) fn excuses(&self) -> Vec<&'static str> {
        match self.kind {
            Kind::ServerKilled | Kind::AllServersKilled | Kind::QueueWiped => vec!["I15", "E1"],
            Kind::PosterKilled if self.failpoint.is_some() => vec!["I15"],
            _ => Vec::new(),
        }
    }

    /// One of several variants, by turns.
    pub(super) fn variant<T: Clone>(&self, variants: &[T]) -> Option<T> {
        pick(variants, self.turn)
    }
}

fn pick<T: Clone>(from: &[T], turn: u32) -> Option<T> {
    let turn = usize::try_from(turn).ok()?;
    from.get(turn.checked_rem(from.len())?).cloned()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failpoint {
            Some(failpoint) => write!(f, "{} at {failpoint}", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}
