//! Files that are lost or wrong, waits, and pre-commits that expire.

use streams::{
    id::{Incarnation, Timestamp},
    message::{Facts, FailureClass},
    sector::{Sealed, SectorRecord, SectorState as S, Succession},
    stage::Stage,
};

use super::sample::*;
use crate::sector::{Action, Event, Refused, step, wants};

fn go(record: SectorRecord, event: Event) -> SectorRecord {
    let label = format!("{} + {}", record.state.name(), event.name());
    step(record, event, RULES, NOW).unwrap_or_else(|refused| panic!("{label}: {refused}")).next
}

fn refusal(record: SectorRecord, event: Event) -> Refused {
    step(record, event, RULES, NOW).unwrap_err()
}

fn unpersisted() -> Sealed {
    Sealed { persisted: None, ..sealed() }
}

fn publish(stage: Stage) -> Action {
    Action::Publish { stage, not_before: None }
}

fn placed_in(n: u128) -> Event {
    match done(Stage::Place) {
        Event::Done(mut done) => {
            done.facts = Facts::Place { store: store(n) };
            Event::Done(done)
        }
        other => other,
    }
}

#[test]
fn before_the_pre_commit_a_lost_host_costs_the_work_and_the_ticket() {
    let sector = record(S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() });
    let sector = go(sector, lost(1, 130));
    assert_eq!(sector.state, S::Allocated {});
    assert_eq!(wants(&sector), [publish(Stage::Place)]);
    let sector = go(sector, placed_in(3));
    assert_eq!(sector.state.placement().map(|at| at.generation), Some(2), "what lies there is of an older generation");
    assert_eq!(
        refusal(sector, done(Stage::AddPiece)),
        Refused::OldGeneration { stage: Stage::AddPiece, found: 1, current: 2 }
    );
}

#[test]
fn after_it_the_same_replica_is_made_again_while_the_chain_goes_on() {
    let mut sector = record(S::PreCommitSent { sealed: unpersisted(), message: message(1) });
    sector = go(sector, lost(1, 130));
    assert_eq!(wants(&sector), [publish(Stage::Place), Action::Follow { message: message(1) }]);
    sector = go(sector, placed_in(3));
    sector = go(sector, Event::PreCommitLanded { landing: landing(1, 0), epoch: 120 });
    assert_eq!(wants(&sector), [publish(Stage::AddPiece), Action::AwaitSeed { pre_commit: 120 }]);
    sector = go(sector, done_in(Stage::AddPiece, 2));
    sector = go(sector, done_in(Stage::TreeD, 2));
    let other = streams::proof::Drawn { epoch: 400, value: bytes(7) };
    assert_eq!(refusal(sector.clone(), Event::TicketDrawn { ticket: other }), Refused::OtherTicket { promised: 95 });
    sector = go(sector, Event::TicketDrawn { ticket: ticket() });
    sector = go(sector, Event::SeedDrawn { seed: seed() });
    sector = go(sector, done_in(Stage::Pc1, 2));
    sector = go(sector, done_in(Stage::Pc2, 2));
    let S::SeedReady { sealed, .. } = &sector.state else { panic!("{:?}", sector.state) };
    assert_eq!(sealed.at, again(), "where it was placed anew");
    assert_eq!((sealed.ticket, sealed.comm_r), (ticket(), bytes(2)));
    assert_eq!(wants(&sector), [publish(Stage::C1), publish(Stage::Persist)]);
}

#[test]
fn another_replica_than_was_promised_waits_for_a_person() {
    let files = S::Pc1Done { at: again(), comm_d: bytes(1), ticket: ticket() };
    let chain = S::PreCommitted { sealed: unpersisted(), pre_commit: pre_commit() };
    let wrong = match done_in(Stage::Pc2, 2) {
        Event::Done(mut done) => {
            done.facts = Facts::Pc2 { comm_d: bytes(1), comm_r: bytes(99) };
            Event::Done(done)
        }
        other => other,
    };
    let sector = go(record(resealing(files.clone(), chain.clone())), wrong);
    let S::Parked { was, reason } = &sector.state else { panic!("{:?}", sector.state) };
    assert_eq!((was.as_ref(), reason.code), (&resealing(files, chain), 1006));
    let sector = go(sector, Event::Retry { from: Some(Stage::TreeD) });
    assert_eq!(sector.state.placement().map(|at| at.generation), Some(3));
    assert_eq!(sector.state.name(), "resealing");
}

#[test]
fn what_was_never_promised_goes_on_as_an_ordinary_sector() {
    let files = S::Ticketed { at: again(), comm_d: bytes(1), ticket: ticket() };
    let chain = S::PreCommitSent { sealed: unpersisted(), message: message(1) };
    let sector = go(record(resealing(files.clone(), chain)), Event::NeverSent { message: message(1) });
    assert_eq!(sector.state, files);
}

#[test]
fn there_must_be_time_to_seal_again() {
    let sector = record(S::SeedReady { sealed: unpersisted(), pre_commit: pre_commit(), seed: seed() });
    let sector = go(sector, lost(1, 86_000));
    let S::Parked { was, reason } = &sector.state else { panic!("{:?}", sector.state) };
    assert_eq!((was.name(), reason.code), ("seed-ready", 1007));
    assert_eq!(go(sector, Event::Retry { from: Some(Stage::Place) }).state.name(), "resealing", "a person may try");
}

#[test]
fn a_persisted_copy_is_enough_once_c1_is_done() {
    let c1_done = S::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed: seed(), c1: artifact() };
    assert_eq!(refusal(record(c1_done), lost(1, 130)), Refused::NothingLost);
    let seed_ready = S::SeedReady { sealed: sealed(), pre_commit: pre_commit(), seed: seed() };
    assert_eq!(go(record(seed_ready.clone()), lost(1, 130)).state.name(), "resealing", "C1 reads the layers");
    let sector = go(record(seed_ready), lost(2, 130));
    assert_eq!(sector.state.sealed().and_then(|sealed| sealed.persisted.clone()), None);
    assert_eq!(wants(&sector), [publish(Stage::C1), publish(Stage::Persist)], "the copy is made again");
    assert_eq!(go(record(proving(false)), lost(1, 130)).state, proving(true), "there is nothing left to trim");
}

#[test]
fn wrong_files_of_a_promised_sector_are_made_again_with_the_same_ticket() {
    let seed_ready = || record(S::SeedReady { sealed: sealed(), pre_commit: pre_commit(), seed: seed() });
    let sector = go(seed_ready(), failed(Stage::C1, FailureClass::RedoFrom(Stage::Pc2)));
    assert_eq!(wants(&sector), [publish(Stage::Pc2)], "the layers are still there");
    assert_eq!(sector.state.placement(), Some(&at()));
    let sector = go(seed_ready(), failed(Stage::C1, FailureClass::RedoFrom(Stage::AddPiece)));
    assert_eq!(wants(&sector), [publish(Stage::AddPiece)]);
    assert_eq!(sector.state.placement().map(|at| at.generation), Some(2));
    let sector = go(seed_ready(), failed(Stage::C1, FailureClass::Abort));
    assert_eq!(sector.state.name(), "parked", "a deposit is not given up by an agent");
}

#[test]
fn a_wait_costs_no_attempt_and_is_kept_once() {
    let mut sector = record(S::Placed { at: at() });
    for minutes in 1..10 {
        let until = Timestamp(NOW.0 + minutes * 60_000);
        sector = go(sector, failed(Stage::AddPiece, FailureClass::WaitUntil(until)));
        assert_eq!(wants(&sector), [Action::Publish { stage: Stage::AddPiece, not_before: Some(until) }]);
        assert_eq!(sector.errors.len(), 1);
    }
    let far = Timestamp(u64::MAX);
    sector = go(sector, failed(Stage::AddPiece, FailureClass::WaitUntil(far)));
    let day = Timestamp(NOW.0 + 24 * 3600 * 1000);
    assert_eq!(wants(&sector), [Action::Publish { stage: Stage::AddPiece, not_before: Some(day) }], "not for ever");
}

#[test]
fn an_agent_that_asked_for_another_leaves_the_stage_to_it() {
    let sector = record(S::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed: seed(), c1: artifact() });
    let sector = go(sector, failed(Stage::C2, FailureClass::RetryElsewhere));
    assert!(sector.shuns(Stage::C2, &agent()));
    assert!(!sector.shuns(Stage::C2, &"agent-2".parse().unwrap()));
    assert!(!sector.shuns(Stage::Persist, &agent()));
}

#[test]
fn a_result_of_another_life_of_the_queue_counts_only_where_nothing_is_written() {
    let mut sector = record(S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() });
    sector.incarnation = Incarnation::FIRST.next();
    let (found, current) = (Incarnation::FIRST, Incarnation::FIRST.next());
    let refused = Refused::OtherIncarnation { stage: Stage::Pc2, found, current };
    assert_eq!(refusal(sector.clone(), done(Stage::Pc2)), refused);
    assert_eq!(refusal(sector.clone(), failed(Stage::Pc2, FailureClass::RetryHere)), refused);
    sector.state = S::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed: seed(), c1: artifact() };
    assert_eq!(go(sector, done(Stage::C2)).state.name(), "c2-done");
}

#[test]
fn pieces_of_an_expired_pre_commit_go_into_one_new_sector() {
    let c1_done = S::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed: seed(), c1: artifact() };
    for state in [c1_done.clone(), parked(c1_done.clone()), resealing(S::Allocated {}, c1_done)] {
        let step = step(record(state), Event::PreCommitExpired { due: 86_670 }, RULES, NOW).unwrap();
        assert_eq!(step.actions, [Action::Succeed, Action::DropArtifact(artifact())]);
        let sector = go(step.next, Event::SuccessorNamed { by: successor() });
        assert_eq!(wants(&sector), [Action::Succeed], "a crash here is taken up with the same number");
        let other = streams::id::SectorId { number: streams::id::SectorNumber(3), ..successor() };
        assert_eq!(refusal(sector.clone(), Event::SuccessorNamed { by: other }), Refused::Again("a successor"));
        assert!(matches!(refusal(sector.clone(), Event::SuccessorBegun { by: other }), Refused::NotNow { .. }));
        let sector = go(sector, Event::SuccessorBegun { by: successor() });
        assert!(matches!(&sector.state, S::PreCommitExpired { successor: Succession::Begun { .. }, .. }));
        assert_eq!(wants(&sector), []);
    }
    let sent = S::ProveCommitSent {
        sealed: sealed(),
        pre_commit: pre_commit(),
        seed: seed(),
        proof: proof(),
        message: message(2),
    };
    assert!(matches!(refusal(record(sent), Event::PreCommitExpired { due: 1 }), Refused::NotNow { .. }));
}

#[test]
fn a_person_begins_with_an_earlier_stage_and_skips_none() {
    let was = || record(parked(S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() }));
    let retry = |from| Event::Retry { from: Some(from) };
    assert_eq!(go(was(), retry(Stage::Pc2)).state.name(), "pc1-done");
    assert_eq!(go(was(), retry(Stage::TreeD)).state.placement().map(|at| at.generation), Some(2));
    let moved = go(was(), retry(Stage::Place));
    assert_eq!((moved.state, moved.generations_lost), (S::Allocated {}, 1));
    for later in [Stage::Persist, Stage::C1, Stage::C2, Stage::Finalize, Stage::Unseal] {
        assert!(matches!(refusal(was(), retry(later)), Refused::NotThere { .. }), "{later}");
    }
    let proving = record(parked(proving(false)));
    assert!(matches!(refusal(proving, retry(Stage::Place)), Refused::TooLate(_)));
}
