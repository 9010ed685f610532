//! Every state against every event.

use std::collections::BTreeSet;

use streams::{
    sector::{SectorState as S, Succession},
    stage::Stage,
};

use super::sample::*;
use crate::sector::{Event, park::Code, step, wants, wants::is_at_rest};

#[test]
fn every_state_answers_every_event_and_keeps_its_books() {
    for state in states() {
        for event in events() {
            let before = record(state.clone());
            let label = format!("{} + {}", before.state.name(), event.name());
            match step(before.clone(), event, RULES, NOW) {
                Ok(step) => {
                    assert_eq!(step.next.seq, before.seq + 1, "{label}");
                    assert_eq!(step.next.id, before.id, "{label}");
                    assert!(!step.what.is_empty(), "{label}");
                    assert_eq!(step.next.what, step.what, "{label}");
                    let names = |state: &S| (state.name(), state.of_files().name());
                    let moved = names(&step.next.state) != names(&before.state);
                    assert_eq!(step.next.entered_at == NOW, moved, "{label}");
                    for action in wants(&step.next) {
                        let newly = step.actions.contains(&action);
                        assert!(
                            newly || wants(&before).contains(&action),
                            "{label}: {action:?} is carried out by nobody"
                        );
                    }
                }
                Err(refused) => assert!(!refused.to_string().is_empty(), "{label}"),
            }
        }
    }
}

/// Where each event leads on each state: `arrows.txt` has every pair that moves a sector, and a pair it lacks must be
/// refused. To write it anew, and then read what changed: `SEALSTREAM_WRITE_GOLDEN=1`.
#[test]
fn every_pair_leads_where_the_table_says() {
    let mut found = String::new();
    for state in states() {
        for event in events() {
            let what = describe(&event);
            if let Ok(step) = step(record(state.clone()), event, RULES, NOW) {
                found += &format!("{} + {what} → {}\n", label(&state), label(&step.next.state));
            }
        }
    }
    if std::env::var_os("SEALSTREAM_WRITE_GOLDEN").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sector/tests/arrows.txt");
        return host::durable::write(&path, found.as_bytes()).unwrap();
    }
    let wanted = include_str!("arrows.txt");
    let (found_lines, wanted_lines): (BTreeSet<&str>, BTreeSet<&str>) =
        (found.lines().collect(), wanted.lines().collect());
    assert_eq!(found.lines().count(), found_lines.len(), "two pairs have one description");
    let more: Vec<_> = found_lines.difference(&wanted_lines).collect();
    let fewer: Vec<_> = wanted_lines.difference(&found_lines).collect();
    assert!(
        more.is_empty() && fewer.is_empty(),
        "moves that the table lacks: {more:#?}\nthat it has and that are refused: {fewer:#?}"
    );
}

/// A state with all that its answers depend on.
fn label(state: &S) -> String {
    match state {
        S::Resealing { files, chain } => format!("resealing({} | {})", label(files), label(chain)),
        S::Parked { was, reason } => format!("parked({} because {})", label(was), reason.code),
        S::PreCommitExpired { successor, .. } => {
            let successor = match successor {
                Succession::Wanted {} => "wanted",
                Succession::Named { .. } => "named",
                Succession::Begun { .. } => "begun",
            };
            format!("pre-commit-expired({successor})")
        }
        S::Proving { .. } if state.attached().is_some() => "proving(attached)".to_owned(),
        S::Proving { finalized, .. } => format!("proving({})", if *finalized { "finalized" } else { "whole" }),
        state => {
            let generation = state.placement().map(|at| format!(" g{}", at.generation)).unwrap_or_default();
            let copy = if state.sealed().is_some_and(|sealed| sealed.persisted.is_some()) { " copied" } else { "" };
            format!("{}{generation}{copy}", state.name())
        }
    }
}

fn describe(event: &Event) -> String {
    let name = event.name();
    match event {
        Event::Done(done) => format!("{name} g{}", done.claim.generation),
        Event::Failed(failed) => format!("{name} g{} {:?}", failed.claim.generation, failed.failure.class),
        Event::NeverSent { message } => format!("{name} {}", message.nonce),
        Event::MessageFailed { landing, sector_code } => {
            format!("{name} {} {} {sector_code:?}", landing.message.nonce, landing.exit_code)
        }
        Event::SeedDrawn { seed } => format!("{name} {}", seed.value.0[0]),
        Event::Rejected { code, .. } => format!("{name} {code}"),
        Event::StoreLost(lost) => format!("{name} {} at {}", lost.store.0.as_u128(), lost.head),
        Event::Retry { from: Some(stage) } => format!("{name} from {stage}"),
        Event::TicketDrawn { .. }
        | Event::TicketExpired { .. }
        | Event::JoinedPreCommit { .. }
        | Event::JoinedProveCommit { .. }
        | Event::PreCommitLanded { .. }
        | Event::ProveCommitLanded { .. }
        | Event::PreCommitReorged { .. }
        | Event::ProveCommitReorged { .. }
        | Event::ProveCommitVoid { .. }
        | Event::PreCommitExpired { .. }
        | Event::SuccessorNamed { .. }
        | Event::SuccessorBegun { .. }
        | Event::Retry { from: None }
        | Event::Abort { .. } => name,
    }
}

#[test]
fn a_sector_that_is_not_at_rest_wants_something() {
    for state in states() {
        let record = record(state);
        assert_eq!(wants(&record).is_empty(), is_at_rest(&record.state), "{}", record.state.name());
    }
}

#[test]
fn park_numbers_are_distinct() {
    let numbers: BTreeSet<u16> = Code::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(numbers.len(), Code::ALL.len());
}

#[test]
fn an_empty_sector_needs_no_add_piece() {
    let mut empty = record(S::Allocated {});
    empty.pieces.clear();
    let next = step(empty, done(Stage::Place), RULES, NOW).unwrap().next;
    assert_eq!(next.state, S::PiecesAdded { at: at() });
}
