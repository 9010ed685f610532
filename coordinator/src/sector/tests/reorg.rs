//! What a fork takes back, and that it leads to the same message again.

use streams::sector::{MessageNote, MessageRef, SectorRecord, SectorState as S};

use super::sample::*;
use crate::sector::{Action, Event, PRE_COMMIT, PROVE_COMMIT, Refused, step};

fn landed(method: &str, message: MessageRef, exit_code: u32) -> MessageNote {
    MessageNote {
        method: method.to_owned(),
        message,
        cid: Some("bafy".to_owned()),
        sent_at: NOW,
        landed_at: Some(NOW),
        height: Some(120),
        exit_code: Some(exit_code),
        gas_used: Some(1),
    }
}

fn told(record: SectorRecord, event: Event) -> (SectorRecord, Vec<Action>) {
    let step = step(record, event, RULES, NOW).unwrap();
    (step.next, step.actions)
}

#[test]
fn a_pre_commit_that_is_gone_is_awaited_again_and_what_was_made_over_its_seed_is_void() {
    let state = S::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed: seed(), c1: artifact() };
    let mut before = record(state);
    before.messages.push(landed(PRE_COMMIT, message(1), 0));
    let (after, actions) = told(before.clone(), Event::PreCommitReorged { message: message(1) });
    assert_eq!(after.state, S::PreCommitSent { sealed: sealed(), message: message(1) });
    assert_eq!(actions, [Action::Follow { message: message(1) }, Action::DropArtifact(artifact())]);
    assert_eq!((after.messages[0].landed_at, after.messages[0].exit_code), (None, None), "it has not landed");

    let (again, _) = told(after, Event::PreCommitLanded { landing: landing(1, 0), epoch: 133 });
    let S::PreCommitted { pre_commit, .. } = &again.state else { panic!("{again:?}") };
    assert_eq!((pre_commit.epoch, again.messages.len()), (133, 1), "the chain's epoch, the same message");

    let refused = step(before, Event::PreCommitReorged { message: message(9) }, RULES, NOW).unwrap_err();
    assert!(matches!(refused, Refused::OtherMessage { .. }), "{refused}");
}

#[test]
fn a_prove_commit_that_is_gone_is_awaited_again_with_its_proof() {
    let mut before = record(proving(true));
    before.messages.push(landed(PROVE_COMMIT, message(2), 0));
    let (after, actions) = told(before, Event::ProveCommitReorged { message: message(2), proof: proof() });
    assert_eq!(actions, [Action::Follow { message: message(2) }]);
    assert_eq!(after.messages[0].height, None);
    // If it can never land, the proof goes into another message.
    let (after, actions) = told(after, Event::NeverSent { message: message(2) });
    assert!(matches!(&after.state, S::C2Done { proof: kept, .. } if *kept == proof()), "{after:?}");
    assert_eq!(actions, [Action::OfferProveCommit]);
}

#[test]
fn a_prove_commit_that_failed_by_a_fork_goes_back_to_the_pre_commit_and_nobody_is_asked() {
    let state = S::ProveCommitSent {
        sealed: sealed(),
        pre_commit: pre_commit(),
        seed: seed(),
        proof: proof(),
        message: message(2),
    };
    let mut before = record(state);
    before.messages.push(landed(PROVE_COMMIT, message(2), 0));
    let void = |epoch| Event::ProveCommitVoid { landing: landing(2, 18), exit_code: 18, epoch };
    let (moved, actions) = told(before.clone(), void(Some(140)));
    assert_eq!(actions, [Action::AwaitSeed { pre_commit: 140 }]);
    assert_eq!(moved.messages[0].exit_code, Some(18));
    let (gone, actions) = told(before, void(None));
    assert_eq!(gone.state, S::PreCommitSent { sealed: sealed(), message: message(1) });
    assert_eq!(actions, [Action::Follow { message: message(1) }]);
}
