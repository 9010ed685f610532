//! What a sector is, decided from the chain, the stores' manifests, and whatever records are left.
//!
//! ```text
//!  chain says              │ stores hold                    │ the sector is
//! ─────────────────────────┼────────────────────────────────┼────────────────────────────────────────────
//!  proving                 │ that replica, or attached      │ Proving
//!  proving                 │ another, or nothing            │ parked (3001), if anything is known of it
//!  pre-committed           │ that replica, with its cache   │ PreCommitted, or as far as its record proves
//!  pre-committed           │ another, or nothing            │ parked (3001)
//!  number used, no more    │ anything                       │ parked (3002)
//!  nothing                 │ replica, ticket young enough   │ Pc2Done, or PreCommitSent if the outbox has it
//!  nothing                 │ layers, tree-d, pieces, room   │ Pc1Done, Ticketed, TreeDDone, PiecesAdded, Placed
//!  nothing                 │ anything, ticket too old       │ PiecesAdded, the next generation
//!  nothing                 │ a persisted copy alone         │ parked (3001)
//!  nothing                 │ nothing                        │ Allocated, if there is a record
//! ```
//!
//! The chain wins over manifests, manifests win over records. Nothing in a store is touched, and a number stays with its
//! sector.

use chain::policy::NetworkPolicy;
use streams::{
    id::{Epoch, Incarnation, SectorId, Timestamp},
    inventory::Holding,
    proof::Commitment,
    sector::{MessageRef, ParkReason, PreCommit, Replica, Sealed, SectorRecord, SectorState as S},
    stage::Stage,
};

use super::files::{Files, has, placement, replica, ticket, tree_d};
use crate::{
    sector::{PRE_COMMIT, PROVE_COMMIT, park::Code, wants::is_at_rest},
    tickets::is_too_old,
};

/// What the chain says of one sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OnChain {
    /// Its number was never used.
    #[default]
    Nothing,
    /// Its number is used, and neither a pre-commit nor a sector is there any more.
    Spent,
    /// It is pre-committed.
    PreCommitted { comm_r: Commitment, epoch: Epoch },
    /// It is among the miner's sectors.
    Proving { comm_r: Commitment, activation: Epoch, expiration: Epoch, deadline: u64, partition: u64 },
}

/// A message in the outbox that may still land, as far as it concerns one sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Underway {
    pub(crate) method: String,
    pub(crate) message: MessageRef,
}

/// All that is known of one sector.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) id: SectorId,
    pub(crate) record: Option<&'a SectorRecord>,
    pub(crate) holdings: &'a [Holding],
    pub(crate) chain: OnChain,
    pub(crate) underway: Option<&'a Underway>,
}

/// What is the same for all sectors of a rebuild.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) incarnation: Incarnation,
    pub(crate) policy: &'a NetworkPolicy,
    pub(crate) head: Epoch,
    pub(crate) now: Timestamp,
    /// Whether every agent was heard: only then do files that nobody has count as lost.
    pub(crate) heard_all: bool,
}

/// What to do about a sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Its record is right as it is.
    Keep,
    /// Write this record; one line says why.
    Write { record: Box<SectorRecord>, what: String },
    /// The chain has it, and nothing here ever knew of it.
    Foreign,
}

/// Decides what a sector is.
pub(crate) fn decide(known: &Known<'_>, frame: Frame<'_>) -> Decision {
    if let Some(record) = known.record {
        let is_decided = record.incarnation == frame.incarnation;
        let is_over = match &record.state {
            S::Aborted { .. } => true,
            S::Proving { finalized: true, .. } => matches!(known.chain, OnChain::Proving { .. } | OnChain::Spent),
            _ => false,
        };
        if is_decided || is_over {
            return Decision::Keep;
        }
    }
    let Some((state, why)) = truth(known, frame) else { return Decision::Foreign };
    let state = match known.record.map(|record| &record.state) {
        // What a person was asked to look at stays with the person, unless the chain has settled it.
        Some(S::Parked { reason, .. }) if !is_at_rest(&state) && !matches!(state, S::Proving { .. }) => {
            S::Parked { was: Box::new(state), reason: reason.clone() }
        }
        _ => state,
    };
    match record_of(known, frame, state) {
        Some(record) => Decision::Write { record: Box::new(record), what: why },
        None => Decision::Foreign,
    }
}

fn record_of(known: &Known<'_>, frame: Frame<'_>, state: S) -> Option<SectorRecord> {
    let Some(old) = known.record else {
        let holding = Files::new(known.holdings).any()?;
        let (proof, pieces) = (holding.proof, holding.pieces.clone());
        let fresh = SectorRecord::new(known.id, frame.incarnation, proof, pieces, holding.placed_at);
        return Some(SectorRecord { state, entered_at: frame.now, seq: 1, ..fresh });
    };
    let mut record = SectorRecord { incarnation: frame.incarnation, seq: old.seq.saturating_add(1), ..old.clone() };
    if state.name() != record.state.name() {
        record.entered_at = frame.now;
    }
    let joined = message(&record.state).filter(|joined| message(&state) != Some(joined)).cloned();
    record.messages.retain(|note| note.landed_at.is_some() || Some(&note.message) != joined.as_ref());
    record.state = state;
    Some(record)
}

const fn message(state: &S) -> Option<&MessageRef> {
    match state {
        S::PreCommitSent { message, .. } | S::ProveCommitSent { message, .. } => Some(message),
        _ => None,
    }
}

/// The state that chain, manifests and record say, in this order; `None` when there is nothing to make a record of.
fn truth(known: &Known<'_>, frame: Frame<'_>) -> Option<(S, String)> {
    if known.record.is_none() && known.holdings.is_empty() {
        return None;
    }
    Some(match known.chain {
        OnChain::Proving { .. } => proving(known),
        OnChain::PreCommitted { comm_r, epoch } => pre_committed(known, comm_r, epoch, frame),
        OnChain::Spent => {
            let text = "its number is used on chain, and neither its pre-commit nor the sector is there any more";
            parked(sealing(known, frame).0, Code::NumberSpent, text)
        }
        OnChain::Nothing => sealing(known, frame),
    })
}

fn parked(was: S, code: Code, text: &str) -> (S, String) {
    let reason = ParkReason { code: code.number(), text: text.to_owned() };
    let was = match was {
        S::Parked { was, .. } => was,
        was => Box::new(was),
    };
    (S::Parked { was, reason }, format!("parked, reason {code}: {text}"))
}

/// What sealing made, as stores or the record say it, if it is the replica that the chain has.
fn sealed_of(known: &Known<'_>, comm_r: Commitment) -> Option<Sealed> {
    let held = Files::new(known.holdings).sealed_with(comm_r);
    held.or_else(|| recorded(known).and_then(S::sealed).filter(|sealed| sealed.comm_r == comm_r).cloned())
}

/// The same, or the replica of others that was attached.
fn replica_of(known: &Known<'_>, comm_r: Commitment) -> Option<Replica> {
    let attached = || {
        let recorded = || recorded(known).and_then(S::attached).filter(|attached| attached.comm_r == comm_r).cloned();
        Files::new(known.holdings).attached_with(comm_r).or_else(recorded)
    };
    sealed_of(known, comm_r).map(Replica::Sealed).or_else(|| attached().map(Replica::Attached))
}

/// The record's state, that of before it was parked included.
fn recorded<'a>(known: &Known<'a>) -> Option<&'a S> {
    known.record.map(|record| match &record.state {
        S::Parked { was, .. } => was.as_ref(),
        state => state,
    })
}

fn proving(known: &Known<'_>) -> (S, String) {
    let OnChain::Proving { comm_r, activation, expiration, deadline, partition } = known.chain else {
        return parked(S::Allocated {}, Code::FilesLost, "not on chain");
    };
    let files = Files::new(known.holdings);
    let Some(sealed) = replica_of(known, comm_r) else {
        let text = "it is proving on chain, and no store that was heard has its replica";
        return parked(before_chain(known), Code::FilesLost, text);
    };
    let (pre_commit, seed, prove_commit) = match recorded(known) {
        Some(S::Proving { pre_commit, seed, prove_commit, .. }) => (pre_commit.clone(), *seed, prove_commit.clone()),
        Some(S::ProveCommitSent { pre_commit, seed, message, .. }) => {
            (Some(pre_commit.clone()), Some(*seed), Some(message.clone()))
        }
        Some(
            S::SeedReady { pre_commit, seed, .. }
            | S::C1Done { pre_commit, seed, .. }
            | S::C2Done { pre_commit, seed, .. },
        ) => (Some(pre_commit.clone()), Some(*seed), None),
        Some(S::PreCommitted { pre_commit, .. }) => (Some(pre_commit.clone()), None, None),
        _ => (None, None, None),
    };
    // Without a local folder there is nothing to trim.
    let finalized = files.local_with(comm_r).is_none_or(|local| has(local, Stage::Finalize));
    let state =
        S::Proving { sealed, pre_commit, seed, prove_commit, activation, expiration, deadline, partition, finalized };
    (state, format!("found proving on chain: deadline {deadline}, partition {partition}"))
}

fn pre_committed(known: &Known<'_>, comm_r: Commitment, epoch: Epoch, frame: Frame<'_>) -> (S, String) {
    let files = Files::new(known.holdings);
    let is_here = files.local_with(comm_r).is_some() || (!frame.heard_all && recorded(known).is_some());
    let Some(sealed) = sealed_of(known, comm_r) else {
        let text = "it is pre-committed on chain, and no store that was heard has the replica it was made for";
        return parked(before_chain(known), Code::FilesLost, text);
    };
    let message = match recorded(known) {
        Some(
            S::PreCommitted { pre_commit, .. }
            | S::SeedReady { pre_commit, .. }
            | S::C1Done { pre_commit, .. }
            | S::C2Done { pre_commit, .. }
            | S::ProveCommitSent { pre_commit, .. },
        ) if pre_commit.epoch == epoch => pre_commit.message.clone(),
        Some(S::PreCommitSent { message, .. }) => Some(message.clone()),
        _ => None,
    };
    let pre_commit = PreCommit { message, epoch };
    let state = further(known, sealed, pre_commit);
    if !is_here {
        let text =
            "it is pre-committed on chain, and the cache that its proof is made from is in no store that was heard";
        return parked(state, Code::FilesLost, text);
    }
    let what = format!("found pre-committed at epoch {epoch}: {}", state.name());
    (state, what)
}

/// As far as the record goes beyond the same pre-commit. Vanilla proofs are artifacts, which nobody keeps: C1 is done
/// again.
fn further(known: &Known<'_>, sealed: Sealed, pre_commit: PreCommit) -> S {
    let same = |found: &PreCommit| found.epoch == pre_commit.epoch;
    match recorded(known) {
        Some(S::SeedReady { pre_commit: found, seed, .. } | S::C1Done { pre_commit: found, seed, .. })
            if same(found) =>
        {
            S::SeedReady { sealed, pre_commit, seed: *seed }
        }
        Some(S::C2Done { pre_commit: found, seed, proof, .. }) if same(found) => {
            let (seed, proof) = (*seed, proof.clone());
            match carried(known, PROVE_COMMIT) {
                Some(message) => S::ProveCommitSent { sealed, pre_commit, seed, proof, message },
                None => S::C2Done { sealed, pre_commit, seed, proof },
            }
        }
        Some(S::ProveCommitSent { pre_commit: found, seed, proof, .. }) if same(found) => {
            let (seed, proof) = (*seed, proof.clone());
            match carried(known, PROVE_COMMIT) {
                Some(message) => S::ProveCommitSent { sealed, pre_commit, seed, proof, message },
                None => S::C2Done { sealed, pre_commit, seed, proof },
            }
        }
        _ => S::PreCommitted { sealed, pre_commit },
    }
}

/// The message of this method that may still carry it.
fn carried(known: &Known<'_>, method: &str) -> Option<MessageRef> {
    known.underway.filter(|underway| underway.method == method).map(|underway| underway.message.clone())
}

/// What was true of it before the chain had it, for a person who must look.
fn before_chain(known: &Known<'_>) -> S {
    recorded(known)
        .cloned()
        .or_else(|| Some(by_manifest(Files::new(known.holdings).local()?)))
        .unwrap_or(S::Allocated {})
}

/// Nothing of it is on chain.
fn sealing(known: &Known<'_>, frame: Frame<'_>) -> (S, String) {
    let files = Files::new(known.holdings);
    let Some(local) = files.local() else { return without_files(known, frame) };
    let recorded_generation = recorded(known).and_then(S::placement).map_or(0, |at| at.generation);
    let has_pieces = has(local, Stage::AddPiece) || local.pieces.is_empty();
    // The record has begun another generation in the same folder: what is held of the old one but its pieces is void.
    let mut at = placement(local);
    if recorded_generation > at.generation {
        at.generation = recorded_generation;
        let state = if has_pieces { S::PiecesAdded { at } } else { S::Placed { at } };
        return (state, format!("generation {recorded_generation} was begun"));
    }
    if let Some(drawn) = ticket(local)
        && is_too_old(frame.policy, drawn.epoch, frame.head)
        && carried(known, PRE_COMMIT).is_none()
    {
        at.generation = at.generation.saturating_add(1);
        let what = format!("ticket of epoch {} is too old at epoch {}: sealed anew", drawn.epoch, frame.head);
        return (if has_pieces { S::PiecesAdded { at } } else { S::Placed { at } }, what);
    }
    let state = match (replica(local), carried(known, PRE_COMMIT)) {
        (Some((_, comm_r)), message) => match (files.sealed_with(comm_r), message) {
            (Some(sealed), Some(message)) => S::PreCommitSent { sealed, message },
            (Some(sealed), None) => S::Pc2Done { sealed },
            (None, _) => by_manifest(local),
        },
        (None, _) => by_manifest(local),
    };
    let what = format!("found in store {} at {}: {}", local.store, local.place, state.name());
    (state, what)
}

/// The state that a local folder is in, PC2 aside.
fn by_manifest(local: &Holding) -> S {
    let at = placement(local);
    match (tree_d(local), ticket(local)) {
        (Some(comm_d), Some(ticket)) if has(local, Stage::Pc1) => S::Pc1Done { at, comm_d, ticket },
        (Some(comm_d), Some(ticket)) => S::Ticketed { at, comm_d, ticket },
        (Some(comm_d), None) => S::TreeDDone { at, comm_d },
        (None, _) if has(local, Stage::AddPiece) || local.pieces.is_empty() => S::PiecesAdded { at },
        (None, _) => S::Placed { at },
    }
}

/// No local store that was heard has a folder of it.
fn without_files(known: &Known<'_>, frame: Frame<'_>) -> (S, String) {
    let files = Files::new(known.holdings);
    if let Some(copy) = files.any() {
        let was = replica(copy).and_then(|(_, comm_r)| files.sealed_with(comm_r)).map(|sealed| S::Pc2Done { sealed });
        let text = "a persisted copy is there, and the local files that a proof is made from are in no store";
        return parked(was.unwrap_or(S::Allocated {}), Code::FilesLost, text);
    }
    match recorded(known) {
        Some(state) if !frame.heard_all => {
            // Its store may be the one that was not heard. A message that is not under way leaves it as it was before.
            let state = match (state, carried(known, PRE_COMMIT)) {
                (S::PreCommitSent { sealed, .. }, None) => S::Pc2Done { sealed: sealed.clone() },
                (S::Pc2Done { sealed } | S::PreCommitSent { sealed, .. }, Some(message)) => {
                    S::PreCommitSent { sealed: sealed.clone(), message }
                }
                (state, _) => state.clone(),
            };
            (state, "kept: not every agent was heard".to_owned())
        }
        _ => (S::Allocated {}, "no store has files of it: it is placed anew".to_owned()),
    }
}
