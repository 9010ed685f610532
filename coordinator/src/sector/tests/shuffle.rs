//! Random orders of events, with a small model of what may never happen beside them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use streams::{
    proof::Drawn,
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
}

impl Model {
    fn watch(&mut self, state: &S, event: &str) {
        let state = match state {
            S::Parked { was, .. } => was,
            other => other,
        };
        if let Some(at) = state.placement() {
            assert!(at.generation >= self.generation, "{event}: generation went back");
            self.generation = at.generation;
            let ticket = match state {
                S::Ticketed { ticket, .. } | S::Pc1Done { ticket, .. } => Some(*ticket),
                other => other.sealed().map(|sealed| sealed.ticket),
            };
            if let Some(ticket) = ticket {
                let first = self.tickets.entry(at.generation).or_insert(ticket);
                assert_eq!(*first, ticket, "{event}: two tickets in generation {}", at.generation);
            }
        }
        let joined = match state {
            S::PreCommitSent { message, .. } => Some(message.clone()),
            S::ProveCommitSent { message, sealed, .. } => {
                assert!(sealed.persisted.is_some(), "{event}: prove-commit without a persisted copy");
                Some(message.clone())
            }
            _ => None,
        };
        if let (Some(old), Some(new)) = (&self.in_flight, &joined) {
            assert_eq!(old, new, "{event}: joined a second message while in a first");
        }
        self.in_flight = joined;
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let stage = proptest::sample::select(Stage::ALL.to_vec());
    let class = proptest::sample::select(CLASSES.to_vec());
    let drawn = (90_i64..93, 0_u8..3).prop_map(|(epoch, value)| Drawn { epoch, value: bytes(value) });
    prop_oneof![
        6 => (stage.clone(), 1_u32..4).prop_map(|(stage, generation)| done_in(stage, generation)),
        2 => Just(Event::SeedDrawn { seed: seed() }),
        1 => (stage, class, 1_u32..4).prop_map(|(stage, class, generation)| failed_in(stage, class, generation)),
        2 => drawn.clone().prop_map(|ticket| Event::TicketDrawn { ticket }),
        2 => drawn.prop_map(|seed| Event::SeedDrawn { seed }),
        1 => Just(Event::TicketExpired { head: 900 }),
        2 => (1_u64..4).prop_map(|n| Event::JoinedPreCommit { message: message(n) }),
        2 => (1_u64..4).prop_map(|n| Event::JoinedProveCommit { message: message(n) }),
        1 => (1_u64..4).prop_map(|n| Event::NeverSent { message: message(n) }),
        3 => (1_u64..4).prop_map(|n| Event::PreCommitLanded { landing: landing(n, 0), epoch: 120 }),
        3 => (1_u64..4).prop_map(|n| Event::ProveCommitLanded { landing: landing(n, 0), on_chain: on_chain() }),
        1 => (1_u64..4, 0_u32..20).prop_map(|(n, c)| Event::MessageFailed { landing: landing(n, c), sector_code: None }),
        1 => (1_u64..4).prop_map(|n| Event::PreCommitReorged { message: message(n) }),
        1 => (1_u64..4).prop_map(|n| Event::ProveCommitReorged { message: message(n), proof: proof() }),
        1 => (1_u64..4, proptest::option::of(130_i64..140)).prop_map(|(n, epoch)| Event::ProveCommitVoid {
            landing: landing(n, 16),
            exit_code: 16,
            epoch,
        }),
        2 => Just(Event::Retry),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_in_whatever_order(events in proptest::collection::vec(any_event(), 1..200)) {
        let mut sector = record(S::Allocated {});
        let mut model = Model::default();
        for event in events {
            let name = event.name();
            let Ok(step) = step(sector.clone(), event, RULES, NOW) else { continue };
            prop_assert_eq!(step.next.seq, sector.seq + 1);
            model.watch(&step.next.state, &name);
            prop_assert_eq!(wants(&step.next).is_empty(), is_at_rest(&step.next.state), "{}: an orphan", name);
            sector = step.next;
        }
    }
}
