//! Random orders of events, with a small model of what may never happen beside them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use streams::{
    message::{Facts, FailureClass},
    proof::{Commitment, Drawn},
    sector::{MessageRef, SectorState as S},
    stage::Stage,
};

use super::sample::*;
use crate::sector::{Event, step, wants, wants::is_at_rest};

/// What must hold over a whole life.
#[derive(Default)]
struct Model {
    /// One ticket a generation.
    tickets: BTreeMap<u32, Drawn>,
    /// The message the sector is in, if any.
    in_flight: Option<MessageRef>,
    generation: u32,
    /// What a message that may be on chain says of the replica.
    promised: Option<(Commitment, Drawn)>,
    /// How far files and chain have come.
    reached: (u8, u8),
}

/// Not by the order of the enum: by what is lost when a sector goes back.
fn rank(state: &S) -> u8 {
    match state {
        S::Allocated {} => 0,
        S::Placed { .. } => 1,
        S::PiecesAdded { .. } => 2,
        S::TreeDDone { .. } => 3,
        S::Ticketed { .. } => 4,
        S::Pc1Done { .. } => 5,
        S::Pc2Done { .. } => 6,
        S::PreCommitSent { .. } => 7,
        S::PreCommitted { .. } => 8,
        S::SeedReady { .. } => 9,
        S::C1Done { .. } => 10,
        S::C2Done { .. } => 11,
        S::ProveCommitSent { .. } => 12,
        S::Proving { .. } => 13,
        S::PreCommitExpired { .. } | S::Aborted { .. } => 14,
        S::Resealing { .. } | S::Parked { .. } => unreachable!("taken apart by the caller"),
    }
}

/// Whether an event may take something back. Anything else only goes on.
fn may_go_back(event: &Event) -> bool {
    match event {
        Event::Failed(failed) => matches!(failed.failure.class, FailureClass::RedoFrom(_)),
        Event::TicketExpired { .. }
        | Event::NeverSent { .. }
        | Event::MessageFailed { .. }
        | Event::SeedDrawn { .. }
        | Event::StoreLost(_)
        | Event::Retry { from: Some(_) } => true,
        _ => false,
    }
}

impl Model {
    fn watch(&mut self, state: &S, event: &Event) {
        let name = event.name();
        let state = match state {
            S::Parked { was, .. } => was,
            other => other,
        };
        self.watch_tickets(state, &name);
        self.watch_messages(state, event);
        let reached = (rank(state.of_files()), rank(state.of_chain()));
        // Sealed again, the files meet the chain where that has come to meanwhile.
        let went_back = reached.0 < self.reached.0 || reached.1 < self.reached.1;
        assert!(!went_back || may_go_back(event), "{name}: from {:?} back to {reached:?}", self.reached);
        self.reached = reached;
    }

    fn watch_tickets(&mut self, state: &S, event: &str) {
        let Some(at) = state.placement() else { return };
        assert!(at.generation >= self.generation, "{event}: generation went back");
        self.generation = at.generation;
        let ticket = match state.of_files() {
            S::Ticketed { ticket, .. } | S::Pc1Done { ticket, .. } => Some(*ticket),
            other => other.sealed().map(|sealed| sealed.ticket),
        };
        if let Some(ticket) = ticket {
            let first = self.tickets.entry(at.generation).or_insert(ticket);
            assert_eq!(*first, ticket, "{event}: two tickets in generation {}", at.generation);
        }
    }

    fn watch_messages(&mut self, state: &S, event: &Event) {
        let name = event.name();
        let joined = match state.of_chain() {
            S::PreCommitSent { message, .. } => Some(message.clone()),
            S::ProveCommitSent { message, sealed, .. } => {
                assert!(sealed.persisted.is_some(), "{name}: prove-commit without a persisted copy");
                Some(message.clone())
            }
            _ => None,
        };
        if let (Some(old), Some(new)) = (&self.in_flight, &joined) {
            assert_eq!(old, new, "{name}: joined a second message while in a first");
        }
        self.in_flight = joined;
        let is_promised = (7..14).contains(&rank(state.of_chain()));
        let says = state.of_chain().sealed().filter(|_| is_promised).map(|sealed| (sealed.comm_r, sealed.ticket));
        if let (Some(old), Some(new)) = (self.promised, says) {
            assert_eq!(old, new, "{name}: another replica than the chain was promised");
        }
        let ended = matches!(state, S::PreCommitExpired { .. });
        let taken_back = matches!(event, Event::NeverSent { .. } | Event::MessageFailed { .. });
        assert!(self.promised.is_none() || says.is_some() || ended || taken_back, "{name}: a promise is forgotten");
        self.promised = says;
    }
}

/// A finished stage; placements in three stores, and now and then another replica.
fn any_done() -> impl Strategy<Value = Event> {
    let stage = proptest::sample::select(Stage::ALL.to_vec());
    (stage, 1_u32..7, prop_oneof![9 => Just(2_u8), 1 => Just(3)], 1_u128..4).prop_map(
        |(stage, generation, comm_r, n)| match done_in(stage, generation) {
            Event::Done(mut done) => {
                match &mut done.facts {
                    Facts::Pc2 { comm_r: made, .. } => *made = bytes(comm_r),
                    Facts::Place { store: chosen } => *chosen = store(n),
                    _ => {}
                }
                Event::Done(done)
            }
            other => other,
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    let stage = proptest::sample::select(Stage::ALL.to_vec());
    let class = proptest::sample::select(CLASSES.to_vec());
    let drawn = (90_i64..93, 0_u8..3).prop_map(|(epoch, value)| Drawn { epoch, value: bytes(value) });
    prop_oneof![
        16 => any_done(),
        2 => Just(Event::SeedDrawn { seed: seed() }),
        1 => (stage.clone(), class, 1_u32..7, 1_u32..9).prop_map(|(stage, class, generation, attempt)| {
            match failed_in(stage, class, generation) {
                Event::Failed(mut failed) => {
                    failed.claim.attempt = attempt;
                    Event::Failed(failed)
                }
                other => other,
            }
        }),
        3 => drawn.clone().prop_map(|ticket| Event::TicketDrawn { ticket }),
        1 => drawn.prop_map(|seed| Event::SeedDrawn { seed }),
        1 => Just(Event::TicketExpired { head: 900 }),
        3 => (1_u64..4).prop_map(|n| Event::JoinedPreCommit { message: message(n) }),
        3 => (1_u64..4).prop_map(|n| Event::JoinedProveCommit { message: message(n) }),
        1 => (1_u64..4).prop_map(|n| Event::NeverSent { message: message(n) }),
        4 => (1_u64..4).prop_map(|n| Event::PreCommitLanded { landing: landing(n, 0), epoch: 120 }),
        3 => (1_u64..4).prop_map(|n| Event::ProveCommitLanded { landing: landing(n, 0), on_chain: on_chain() }),
        1 => (1_u64..4, 0_u32..20).prop_map(|(n, c)| Event::MessageFailed { landing: landing(n, c), sector_code: None }),
        1 => (1_u64..4).prop_map(|n| Event::PreCommitReorged { message: message(n) }),
        1 => (1_u64..4).prop_map(|n| Event::ProveCommitReorged { message: message(n), proof: proof() }),
        1 => (1_u64..4, proptest::option::of(130_i64..140)).prop_map(|(n, epoch)| Event::ProveCommitVoid {
            landing: landing(n, 16),
            exit_code: 16,
            epoch,
        }),
        1 => (1_u128..4, prop_oneof![4 => Just(130_i64), 1 => Just(86_000)]).prop_map(|(n, head)| lost(n, head)),
        1 => proptest::option::of(stage).prop_map(|from| Event::Retry { from }),
        2 => Just(Event::Retry { from: None }),
    ]
}

/// The end of a life is so likely in a random order that it would hide what comes before: it gets a test of its own.
fn any_end() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::PreCommitExpired { due: 86_670 }),
        Just(Event::SuccessorNamed { by: successor() }),
        Just(Event::SuccessorBegun { by: successor() }),
        Just(Event::Abort { reason: "a person says so".to_owned() }),
    ]
}

/// Lives of 100 events on average: together more than 50,000 steps.
const LIVES: u32 = 600;

proptest! {
    #![proptest_config(ProptestConfig { cases: LIVES, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_in_whatever_order(
        events in proptest::collection::vec(any_event(), 1..200),
        ends in proptest::collection::vec(any_end(), 1..10),
    ) {
        let mut sector = record(S::Allocated {});
        let mut model = Model::default();
        for event in events.into_iter().chain(ends) {
            let name = event.name();
            let Ok(step) = step(sector.clone(), event.clone(), RULES, NOW) else { continue };
            prop_assert_eq!(step.next.seq, sector.seq + 1);
            model.watch(&step.next.state, &event);
            prop_assert_eq!(wants(&step.next).is_empty(), is_at_rest(&step.next.state), "{}: an orphan", name);
            prop_assert!(step.next.errors.len() <= streams::sector::ERRORS_MAX);
            sector = step.next;
        }
    }
}
