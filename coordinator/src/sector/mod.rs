//! A sector's life, decided here and nowhere else.
//!
//! ```text
//!  submit
//!    │
//!    ▼         place          add-piece            tree-d           ticket            pc1
//!  Allocated ───────► Placed ───────────► PiecesAdded ─────► TreeDDone ─────► Ticketed ─────► Pc1Done
//!                        └──── no pieces ────►▲   ▲                              │               │ pc2
//!                                             │   └───── ticket too old ─────────┴───────┬───────┤
//!                                             └── redo, with a new generation ───────────┘       ▼
//!            PreCommitted ◄──── landed ──── PreCommitSent ◄──── joins a message ───────────── Pc2Done
//!                 │                              └──── never signed, or failed on chain ────────►▲
//!                 │ seed's epoch is reached                                     meanwhile: persist, until done
//!                 ▼            c1             c2, verified
//!             SeedReady ───────────► C1Done ───────────► C2Done ──── persisted, joins a message ────► ProveCommitSent
//!                 ▲                    │                   ▲ │                                          │    │
//!                 └── the seed moved, or the proof is bad ─┼─┘◄──── never signed, or failed on chain ───┘    │ landed
//!                                                          │                                                 ▼
//!   Parked: any of the above, waiting for a person         │                                   finalize   Proving
//!   Aborted: given up before anything was on chain         └─ (a proof that verifies wins, however late)   ──►(finalized)
//! ```
//!
//! ```text
//!  sealed by others, proving on chain, its files proven by `sealer-agent store attach` ────────────────► Proving
//!                                                                                                      (finalized)
//! ```
//!
//! Such a sector has neither ticket nor seed nor pieces here: it is proven, and nothing else is done with it.
//!
//! A fork of the chain is the one thing that leads back: from `PreCommitted` to `C2Done` to `PreCommitSent`, from
//! `Proving` to `ProveCommitSent`, always to the same message, and from a prove-commit that failed by it to
//! `PreCommitted` or `PreCommitSent`.
//! Files can be lost with their store, or found wrong. What that means depends on what the chain was promised:
//!
//! ```text
//!  Placed … Pc2Done ──── files lost ────► Allocated (the next generation, a new ticket)
//!
//!  PreCommitSent … C2Done ─ files lost or wrong ─► Resealing { files, chain }
//!                                                     │ files: Allocated ─► Placed ─► … ─► Pc1Done   the same ticket
//!                                                     │ chain: PreCommitSent ─► PreCommitted ─► SeedReady   meanwhile
//!                    ◄──── pc2: the same CommR ───────┤
//!                          pc2: another CommR ──► Parked
//!            Pc2Done's road ◄── its pre-commit never landed: nothing was promised, so `files` goes on alone
//!
//!  PreCommitted … C2Done, Resealing, Parked ── not proven in time ──► PreCommitExpired { Wanted ─► Named ─► Begun }
//!                                                                                                  a new sector
//! ```
//!
//! A persisted copy keeps a sector whole from `C1Done` on. Before that C1 needs the layers, which are never persisted.
//!
//! | state | what is true | who moves it on |
//! |---|---|---|
//! | `Allocated` | the number is ours for ever; no file exists | an agent of `pc1-cpu` that reserves room |
//! | `Placed` | one local store has room for the sector's whole life | an `io` slot there writes the pieces |
//! | `PiecesAdded` | the staged file holds the pieces, or there are none | an `io` slot builds tree-d |
//! | `TreeDDone` | tree-d's root is what the pieces say | the agent that claims PC1 asks for the ticket |
//! | `Ticketed` | the ticket of this generation is fixed; layers may be partly on disk | PC1 |
//! | `Pc1Done` | all layers are on disk | PC2 |
//! | `Pc2Done` | the replica is on disk; nothing is on chain | the pre-commit batch |
//! | `PreCommitSent` | one message, by sender and nonce, may carry it; no other will | the chain |
//! | `PreCommitted` | the deposit is paid and the seed's epoch is known | the chain's clock |
//! | `SeedReady` | the seed is drawn | C1 |
//! | `C1Done` | vanilla proofs are stored | C2, on any agent |
//! | `C2Done` | a proof verified against our ticket and our seed | persisting, then the prove-commit batch |
//! | `ProveCommitSent` | one message may carry it; a persisted copy exists | the chain |
//! | `Proving` | the chain counts it; its deadline is the poster's; its replica was sealed here, or attached | finalize, once |
//! | `Resealing` | the chain has, or may have, its promise; its files are made again with the same ticket | as `files` and as `chain` |
//! | `PreCommitExpired` | number and deposit are lost; the record keeps why | the coordinator, until the new sector exists |
//! | `Parked` | nothing runs on its behalf | a person: `retry` or `abort` |
//! | `Aborted` | nothing was ever on chain | nobody |
//!
//! [`step`] is pure: it takes the record, one event and the time, and answers with the next record and what follows
//! from it, or refuses with a reason. Events come off a wire, twice and late, so a refusal is ordinary.

mod commit;
mod event;
mod failure;
pub(crate) mod park;
mod person;
mod refusal;
mod reorg;
mod resealing;
mod sealing;
mod succession;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod wants;

use streams::{
    id::Timestamp,
    message::ArtifactRef,
    sector::{SectorRecord, SectorState},
};

pub(crate) use self::{
    commit::{PRE_COMMIT, PROVE_COMMIT},
    event::{Done, Event, Failed, Landing, LostStore, OnChain},
    refusal::Refused,
    wants::{Action, wants},
};

/// Limits the configuration sets on a sector's life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Failed attempts at one stage before a person must look.
    pub(crate) attempts_max: u32,
}

/// What an event leads to.
#[derive(Debug)]
pub(crate) struct Step {
    /// The record to write.
    pub(crate) next: SectorRecord,
    /// What to do once it is written: only what was not already wanted before.
    pub(crate) actions: Vec<Action>,
    /// One line for the audit.
    pub(crate) what: String,
}

/// A changed record before its bookkeeping.
struct Change {
    record: SectorRecord,
    what: String,
    /// An artifact that nothing needs any more.
    dropped: Option<ArtifactRef>,
}

impl Change {
    fn new(record: SectorRecord, what: impl Into<String>) -> Self {
        Self { record, what: what.into(), dropped: None }
    }
}

/// Decides what `event` makes of `record`.
pub(crate) fn step(record: SectorRecord, event: Event, rules: Rules, now: Timestamp) -> Result<Step, Refused> {
    let before = wants(&record);
    let was = (record.state.name(), record.state.of_files().name());
    let change = match record.state {
        SectorState::Resealing { .. } if event.is_of_chain() => resealing::on_chain(record, event, rules, now)?,
        _ => react(record, event, rules, now)?,
    };
    let Change { record: mut next, what, dropped } = change;
    next.seq = next.seq.saturating_add(1);
    next.what.clone_from(&what);
    if (next.state.name(), next.state.of_files().name()) != was {
        next.entered_at = now;
    }
    let mut actions: Vec<Action> = wants(&next).into_iter().filter(|action| !before.contains(action)).collect();
    actions.extend(dropped.map(Action::DropArtifact));
    Ok(Step { next, actions, what })
}

fn react(record: SectorRecord, event: Event, rules: Rules, now: Timestamp) -> Result<Change, Refused> {
    match event {
        Event::Done(done) => sealing::done(record, *done),
        Event::Failed(failed) => failure::failed(record, *failed, rules, now),
        Event::TicketDrawn { ticket } => sealing::ticket_drawn(record, ticket),
        Event::TicketExpired { head } => sealing::ticket_expired(record, head),
        Event::JoinedPreCommit { message } => commit::joined_pre_commit(record, message, now),
        Event::JoinedProveCommit { message } => commit::joined_prove_commit(record, message, now),
        Event::NeverSent { message } => commit::never_sent(record, &message),
        Event::PreCommitLanded { landing, epoch } => commit::pre_commit_landed(record, landing, epoch, now),
        Event::ProveCommitLanded { landing, on_chain } => commit::prove_commit_landed(record, landing, on_chain, now),
        Event::MessageFailed { landing, sector_code } => {
            commit::message_failed(record, landing, sector_code, rules, now)
        }
        Event::SeedDrawn { seed } => commit::seed_drawn(record, seed),
        Event::PreCommitReorged { message } => reorg::pre_commit_reorged(record, &message),
        Event::ProveCommitReorged { message, proof } => reorg::prove_commit_reorged(record, &message, proof),
        Event::ProveCommitVoid { landing, exit_code, epoch } => {
            reorg::prove_commit_void(record, landing, exit_code, epoch, now)
        }
        Event::Rejected { code, text } => person::rejected(record, code, text),
        Event::StoreLost(lost) => resealing::store_lost(record, lost),
        Event::PreCommitExpired { due } => succession::expired(record, due),
        Event::SuccessorNamed { by } => succession::named(record, by),
        Event::SuccessorBegun { by } => succession::begun(record, by),
        Event::Retry { from } => person::retry(record, from),
        Event::Abort { reason } => person::abort(record, reason),
    }
}
