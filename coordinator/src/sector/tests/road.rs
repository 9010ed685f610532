//! The happy road, and the ways off it and back.

use streams::{
    id::Timestamp,
    message::FailureClass,
    sector::{SectorRecord, SectorState as S},
    stage::Stage,
};

use super::sample::*;
use crate::sector::{Action, Event, Refused, step};

fn go(record: SectorRecord, event: Event) -> (SectorRecord, Vec<Action>) {
    let label = event.name();
    match step(record, event, RULES, NOW) {
        Ok(step) => (step.next, step.actions),
        Err(refused) => panic!("{label}: {refused}"),
    }
}

fn publish(stage: Stage) -> Action {
    Action::Publish { stage, not_before: None }
}

#[test]
fn from_submission_to_proving() {
    let road: Vec<(Event, Vec<Action>)> = vec![
        (done(Stage::Place), vec![publish(Stage::AddPiece)]),
        (done(Stage::AddPiece), vec![publish(Stage::TreeD)]),
        (done(Stage::TreeD), vec![publish(Stage::Pc1)]),
        (Event::TicketDrawn { ticket: ticket() }, vec![]),
        (done(Stage::Pc1), vec![publish(Stage::Pc2)]),
        (done(Stage::Pc2), vec![Action::OfferPreCommit, publish(Stage::Persist)]),
        (Event::JoinedPreCommit { message: message(1) }, vec![Action::Follow { message: message(1) }]),
        (Event::PreCommitLanded { landing: landing(1, 0), epoch: 120 }, vec![Action::AwaitSeed { pre_commit: 120 }]),
        (Event::SeedDrawn { seed: seed() }, vec![publish(Stage::C1)]),
        (done(Stage::C1), vec![publish(Stage::C2)]),
        (done(Stage::C2), vec![Action::DropArtifact(artifact())]),
        (done(Stage::Persist), vec![Action::OfferProveCommit]),
        (Event::JoinedProveCommit { message: message(2) }, vec![Action::Follow { message: message(2) }]),
        (Event::ProveCommitLanded { landing: landing(2, 0), on_chain: on_chain() }, vec![publish(Stage::Finalize)]),
        (done(Stage::Finalize), vec![]),
    ];
    let mut sector = record(S::Allocated {});
    for (event, expected) in road {
        let label = event.name();
        let (next, actions) = go(sector, event);
        assert_eq!(actions, expected, "{label}");
        sector = next;
    }
    assert_eq!(sector.state, proving(true));
    let stages: Vec<Stage> = sector.story.iter().map(|run| run.stage).collect();
    let expected = [
        Stage::Place,
        Stage::AddPiece,
        Stage::TreeD,
        Stage::Pc1,
        Stage::Pc2,
        Stage::C1,
        Stage::C2,
        Stage::Persist,
        Stage::Finalize,
    ];
    assert_eq!(stages, expected);
    let codes: Vec<Option<u32>> = sector.messages.iter().map(|note| note.exit_code).collect();
    assert_eq!(codes, [Some(0), Some(0)]);
}

#[test]
fn a_failure_is_tried_again_with_growing_pauses_and_then_parked() {
    let mut sector = record(S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() });
    for (attempt, pause_ms) in [(1, 1000), (2, 4000)] {
        let (next, actions) = go(sector, attempt_failed(Stage::Pc2, FailureClass::RetryHere, attempt));
        assert_eq!(actions, [Action::Publish { stage: Stage::Pc2, not_before: Some(Timestamp(NOW.0 + pause_ms)) }]);
        sector = next;
    }
    let (mut sector, actions) = go(sector, attempt_failed(Stage::Pc2, FailureClass::RetryElsewhere, 3));
    assert_eq!(actions, []);
    let S::Parked { reason, .. } = &sector.state else { panic!("{:?}", sector.state) };
    assert_eq!((reason.code, reason.text.as_str()), (1001, "pc2 failed 3 times, last: signal 9"));
    // What an agent still finishes is kept, and a person's retry goes on from there.
    sector = go(sector, done(Stage::Pc2)).0;
    assert_eq!(sector.state.name(), "parked");
    let (sector, actions) = go(sector, Event::Retry { from: None });
    assert_eq!(sector.state.name(), "pc2-done");
    assert_eq!(actions, [Action::OfferPreCommit, publish(Stage::Persist)]);
}

#[test]
fn what_is_redone_gets_a_new_generation_and_old_results_are_refused() {
    let pc1_done = record(S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() });
    let (sector, actions) = go(pc1_done, failed(Stage::Pc2, FailureClass::RedoFrom(Stage::Pc1)));
    assert_eq!(actions, [publish(Stage::TreeD)]);
    assert_eq!(sector.state.placement().map(|at| at.generation), Some(2));
    let refused = step(sector.clone(), done_in(Stage::TreeD, 1), RULES, NOW).unwrap_err();
    assert_eq!(refused, Refused::OldGeneration { stage: Stage::TreeD, found: 1, current: 2 });
    go(sector, done_in(Stage::TreeD, 2));
}

#[test]
fn a_loop_of_redoing_ends() {
    let mut sector = record(S::SeedReady { sealed: sealed(), pre_commit: pre_commit(), seed: seed() });
    let redo = |attempt| attempt_failed(Stage::C2, FailureClass::RedoFrom(Stage::C1), attempt);
    for attempt in 1..3 {
        sector = go(sector, done(Stage::C1)).0;
        sector = go(sector, redo(attempt)).0;
        assert_eq!(sector.state.name(), "seed-ready");
    }
    sector = go(sector, done(Stage::C1)).0;
    sector = go(sector, redo(3)).0;
    assert_eq!(sector.state.name(), "parked", "earlier stages that succeed do not reset the count of a later one");
}

#[test]
fn a_failure_that_is_told_twice_costs_one_attempt() {
    let sector = record(S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() });
    let (sector, _) = go(sector, failed(Stage::Pc2, FailureClass::RetryHere));
    let again = step(sector, failed(Stage::Pc2, FailureClass::RetryHere), RULES, NOW).unwrap_err();
    assert_eq!(again, Refused::Again("this failure"));
}

#[test]
fn no_prove_commit_without_a_persisted_copy() {
    let unpersisted = streams::sector::Sealed { persisted: None, ..sealed() };
    let sector = record(S::C2Done { sealed: unpersisted, pre_commit: pre_commit(), seed: seed(), proof: proof() });
    let refused = step(sector, Event::JoinedProveCommit { message: message(2) }, RULES, NOW).unwrap_err();
    assert_eq!(refused, Refused::NotPersisted);
}

#[test]
fn more_gas_is_tried_and_other_exit_codes_wait_for_a_person() {
    let sent = || record(S::PreCommitSent { sealed: sealed(), message: message(1) });
    let (sector, actions) = go(sent(), Event::MessageFailed { landing: landing(1, 7), sector_code: None });
    assert_eq!(sector.state.name(), "pc2-done");
    assert_eq!(actions, [Action::OfferPreCommit]);
    let (sector, _) = go(sent(), Event::MessageFailed { landing: landing(1, 16), sector_code: None });
    let S::Parked { was, reason } = sector.state else { panic!() };
    assert_eq!((was.name(), reason.code), ("pc2-done", 2001));
}

#[test]
fn a_proof_over_an_older_seed_is_refused() {
    let moved = streams::proof::Drawn { epoch: 126, value: bytes(77) };
    let sector = record(S::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed: moved, c1: artifact() });
    assert_eq!(step(sector, done(Stage::C2), RULES, NOW).unwrap_err(), Refused::OtherSeed);
}

#[test]
fn a_message_of_another_nonce_does_not_move_it() {
    let sector = record(S::PreCommitSent { sealed: sealed(), message: message(1) });
    let event = Event::PreCommitLanded { landing: landing(9, 0), epoch: 120 };
    assert!(matches!(step(sector, event, RULES, NOW), Err(Refused::OtherMessage { .. })));
}
