//! Every state against every event.

use std::collections::{BTreeMap, BTreeSet};

use streams::{sector::SectorState as S, stage::Stage};

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
                    let moved = step.next.state.name() != before.state.name();
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

/// Where each event leads, on the states it fits.
#[test]
fn arrows() {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for state in states() {
        for event in events() {
            if matches!(event, Event::Failed(_)) {
                continue;
            }
            let name = event.name();
            if let Ok(step) = step(record(state.clone()), event, RULES, NOW) {
                arrows.entry(name).or_default().insert(format!("{} → {}", state.name(), step.next.state.name()));
            }
        }
    }
    let expect = |event: &str, wanted: &[&str]| {
        let found: Vec<&str> = arrows.get(event).into_iter().flatten().map(String::as_str).collect();
        assert_eq!(found, wanted, "{event}");
    };
    expect("place done", &["allocated → placed"]);
    expect("add-piece done", &["placed → pieces-added"]);
    expect("tree-d done", &["pieces-added → tree-d-done"]);
    expect("ticket drawn", &["tree-d-done → ticketed"]);
    expect("pc1 done", &["ticketed → pc1-done"]);
    expect("pc2 done", &["parked → parked", "pc1-done → pc2-done"]);
    expect("persist done", &["c2-done → c2-done", "pc2-done → pc2-done", "pre-committed → pre-committed"]);
    expect("joined a pre-commit", &["pc2-done → pre-commit-sent"]);
    expect("pre-commit landed", &["pre-commit-sent → pre-committed"]);
    expect(
        "seed drawn",
        &["c1-done → seed-ready", "c2-done → seed-ready", "pre-committed → seed-ready", "seed-ready → seed-ready"],
    );
    expect("c1 done", &["seed-ready → c1-done"]);
    expect("c2 done", &["c1-done → c2-done", "seed-ready → c2-done"]);
    expect("joined a prove-commit", &["c2-done → prove-commit-sent"]);
    expect("prove-commit landed", &["prove-commit-sent → proving"]);
    expect("finalize done", &["proving → proving"]);
    expect("unseal done", &[]);
    expect("retry", &["parked → pc1-done"]);
    expect(
        "pre-commit reorganised away",
        &[
            "c1-done → pre-commit-sent",
            "c2-done → pre-commit-sent",
            "pre-committed → pre-commit-sent",
            "seed-ready → pre-commit-sent",
        ],
    );
    expect("prove-commit reorganised away", &["proving → prove-commit-sent"]);
    expect("prove-commit void", &["prove-commit-sent → pre-commit-sent", "prove-commit-sent → pre-committed"]);
    expect("message never sent", &["pre-commit-sent → pc2-done", "prove-commit-sent → c2-done"]);
    expect("ticket expired", &["pc1-done → pieces-added", "pc2-done → pieces-added", "ticketed → pieces-added"]);
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
