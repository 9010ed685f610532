//! Why a sector is where it is: one reason with a stable code for each thing it waits for.
//!
//! Pure: everything that is known comes in as [`Facts`]. A person reads the words, a program the code.

mod task;
#[cfg(test)]
mod tests;
mod words;

use chain::policy::NetworkPolicy;
use serde::Serialize;
use streams::{
    id::{AgentId, Epoch, Place, SectorId, Timestamp},
    records::{AgentRecord, ChainHead, Fate, OutboxEntry, StoreRecord},
    sector::{MessageRef, SectorRecord, SectorState, Succession},
    stage::Class,
    subject::TaskSubject,
};

use crate::{
    config::{BatchKeys, BatchSection},
    sector::{Action, wants},
};

/// What is known when the question is asked.
pub(crate) struct Facts<'a> {
    pub(crate) record: &'a SectorRecord,
    /// Open pointers in `TASKS`, of all sectors.
    pub(crate) queued: &'a [TaskSubject],
    /// Whether a result about it is in `RESULTS`.
    pub(crate) unsettled: bool,
    pub(crate) agents: &'a [AgentRecord],
    pub(crate) stores: &'a [StoreRecord],
    pub(crate) head: Option<&'a ChainHead>,
    /// The message it joined.
    pub(crate) outbox: Option<&'a OutboxEntry>,
    pub(crate) batch: &'a BatchSection,
    /// The network's rules, where they are known.
    pub(crate) policy: Option<&'a NetworkPolicy>,
    pub(crate) now: Timestamp,
}

/// One thing a sector waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Why {
    pub(crate) sector: SectorId,
    /// The task, the message, or the state.
    pub(crate) what: String,
    pub(crate) code: &'static str,
    pub(crate) words: String,
    pub(crate) reason: Reason,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub(crate) enum Reason {
    /// An agent works on it.
    Running { agent: AgentId, attempt: u32, since: Timestamp },
    /// A result about it is being judged.
    ResultWaits,
    /// Not before a time in the record.
    NotBefore { until: Timestamp, because: String },
    /// The pointer is not in the queue; the reconciler puts it there.
    NotQueued,
    /// No agent of the class is alive, there or anywhere.
    NoAgent { class: Class, place: Option<Place>, silent_since: Option<Timestamp> },
    /// Every agent of the class has its slots full.
    SlotsBusy { class: Class, place: Option<Place>, slots: u32 },
    /// Every agent of the class is cordoned, drained or paused.
    AgentsHeld { class: Class, place: Option<Place>, agents: Vec<String> },
    /// The only agents that could do it left it to others.
    LeftToOthers { class: Class },
    /// A slot is free: it will be taken at once.
    Queued { class: Class, place: Option<Place> },
    /// The seed's epoch is not reached.
    Seed { epoch: Option<Epoch>, pre_commit: Epoch, head: Option<Epoch> },
    /// Its message is not cut yet.
    Batch { until: Option<Timestamp>, threshold: u64 },
    /// A message is on its way.
    Message { message: MessageRef, stage: MessageStage },
    /// Its pieces go into a new sector.
    Succession { by: Option<SectorId> },
    /// A person must look.
    Parked { code: u16, text: String },
    /// It wants nothing more.
    AtEnd { state: &'static str },
}

/// How far a message is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub(crate) enum MessageStage {
    /// It is not in the outbox: about to be signed, or never.
    NotSigned,
    /// Signed and stored; no node took it yet.
    Journaled,
    /// A node has it.
    Pushed { at: Timestamp },
    /// It is in a tipset.
    Landed { height: Epoch, confirmations: Option<Epoch>, settled: bool },
    /// Another message has its nonce.
    Displaced,
}

/// Every reason, in the order of what the sector wants.
pub(crate) fn why(facts: &Facts<'_>) -> Vec<Why> {
    let record = facts.record;
    let reasons: Vec<(String, Reason)> = wants(record).iter().filter_map(|action| of_action(facts, action)).collect();
    let reasons = if reasons.is_empty() { vec![at_rest(&record.state)] } else { reasons };
    let whole = |(what, reason): (String, Reason)| Why {
        sector: record.id,
        what,
        code: reason.code(),
        words: words::of(&reason, facts),
        reason,
    };
    reasons.into_iter().map(whole).collect()
}

fn at_rest(state: &SectorState) -> (String, Reason) {
    let reason = match state {
        SectorState::Parked { reason, .. } => Reason::Parked { code: reason.code, text: reason.text.clone() },
        state => Reason::AtEnd { state: state.name() },
    };
    (state.name().to_owned(), reason)
}

fn of_action(facts: &Facts<'_>, action: &Action) -> Option<(String, Reason)> {
    Some(match action {
        Action::Publish { stage, not_before } => (stage.to_string(), task::reason(facts, *stage, *not_before)),
        Action::OfferPreCommit => ("pre-commit".to_owned(), of_batch(facts, &facts.batch.pre_commit)),
        Action::OfferProveCommit => ("prove-commit".to_owned(), of_batch(facts, &facts.batch.prove_commit)),
        Action::Follow { message } => {
            let reason = Reason::Message { message: message.clone(), stage: of_message(facts) };
            (format!("message {}", message.nonce), reason)
        }
        Action::AwaitSeed { pre_commit } => {
            let delay = facts.policy.map(|p| p.pre_commit_challenge_delay.saturating_add(p.seed_confidence));
            let epoch = delay.map(|delay| pre_commit.saturating_add(delay));
            let head = facts.head.map(|head| head.epoch);
            ("seed".to_owned(), Reason::Seed { epoch, pre_commit: *pre_commit, head })
        }
        Action::Succeed => {
            let by = match &facts.record.state {
                SectorState::PreCommitExpired { successor: Succession::Named { by }, .. } => Some(*by),
                _ => None,
            };
            ("successor".to_owned(), Reason::Succession { by })
        }
        Action::DropArtifact(_) => return None,
    })
}

/// Of a batch that waits neither for others nor for a time, nothing is to be said but that it is being made.
fn of_batch(facts: &Facts<'_>, keys: &BatchKeys) -> Reason {
    let wait_ms = u64::try_from(keys.max_wait.as_millis()).unwrap_or(u64::MAX);
    let until = (keys.threshold > 1).then(|| Timestamp(facts.record.entered_at.0.saturating_add(wait_ms)));
    Reason::Batch { until, threshold: keys.threshold }
}

fn of_message(facts: &Facts<'_>) -> MessageStage {
    let Some(entry) = facts.outbox else { return MessageStage::NotSigned };
    match &entry.fate {
        Fate::Journaled {} => MessageStage::Journaled,
        Fate::Pushed { at } => MessageStage::Pushed { at: *at },
        Fate::Landed { height, settled, .. } => {
            let confirmations = facts.head.map(|head| head.epoch.saturating_sub(*height).max(0));
            MessageStage::Landed { height: *height, confirmations, settled: *settled }
        }
        Fate::Displaced { .. } => MessageStage::Displaced,
    }
}

impl Reason {
    /// The stable code.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::ResultWaits => "result-waits",
            Self::NotBefore { .. } => "not-before",
            Self::NotQueued => "not-queued",
            Self::NoAgent { .. } => "no-agent",
            Self::SlotsBusy { .. } => "slots-busy",
            Self::AgentsHeld { .. } => "agents-held",
            Self::LeftToOthers { .. } => "left-to-others",
            Self::Queued { .. } => "queued",
            Self::Seed { .. } => "waits-for-seed",
            Self::Batch { .. } => "waits-for-batch",
            Self::Message { .. } => "waits-for-message",
            Self::Succession { .. } => "succession",
            Self::Parked { .. } => "parked",
            Self::AtEnd { .. } => "at-end",
        }
    }
}
