//! One window, one decision at a time.

use std::collections::BTreeMap;

use streams::{
    id::{MinerId, Place, StoreId, Timestamp},
    message::{ArtifactRef, VanillaPart},
    proof::{ProofBytes, SealProof},
    records::PostRecord,
};

use super::*;
use crate::{
    deadline::{Window, tests::fast},
    facts::{Located, Target},
};

pub(super) const POLICY: Policy =
    Policy { timing: Timing { start_confidence: 1, submit_confidence: 0 }, partitions_per_message: 1, confidence: 1 };
const RANDOMNESS: Bytes32 = Bytes32([7; 32]);

pub(super) fn place(name: &str) -> Place {
    name.parse().unwrap()
}

pub(super) fn store(n: u128) -> StoreId {
    StoreId(uuid::Uuid::from_u128(n))
}

pub(super) fn part(numbers: &[u64]) -> VanillaPart {
    let artifact = ArtifactRef { name: format!("vanilla-{numbers:?}"), bytes: 1, sha256: Bytes32([0; 32]) };
    VanillaPart { artifact, sectors: numbers.iter().copied().map(SectorNumber).collect() }
}

/// Sectors 1 and 2 at `east`, 3 at `west` with a second copy at `east`.
fn partition() -> PartitionFacts {
    let at = |name: &str, n| Located { place: place(name), store: store(n) };
    let target = |n: u8, replicas| (SectorNumber(n.into()), Target { comm_r: Bytes32([n; 32]), replicas });
    PartitionFacts {
        to_prove: BTreeMap::from([
            target(1, vec![at("east", 10)]),
            target(2, vec![at("east", 10)]),
            target(3, vec![at("west", 20), at("east", 11)]),
        ]),
        faulty: 0,
        submitted: false,
        record: None,
        sending: Sending::Unsent,
    }
}

/// The window 30 to 45, challenge 27, seen from `head`.
fn facts(head: Epoch) -> Facts {
    Facts {
        head,
        window: Window::current(&fast(1000, 30)),
        randomness: RANDOMNESS,
        proof: SealProof::Drg2KiBV1_1,
        partition_sectors: 3,
        partitions: BTreeMap::from([(0, partition())]),
        leading: true,
        results_drained: true,
    }
}

fn record(proven: &[u64], message: Option<u64>) -> PostRecord {
    PostRecord {
        miner: MinerId(1000),
        deadline: 2,
        open: 30,
        close: 45,
        partition: 0,
        randomness: RANDOMNESS,
        proven: proven.iter().copied().map(SectorNumber).collect(),
        skipped: Vec::new(),
        proof: ProofBytes(vec![1]),
        proved_at: Timestamp(0),
        message: message.map(|nonce| streams::sector::MessageRef { sender: "f1poster".into(), nonce }),
        landed_at: None,
    }
}

fn proven(head: Epoch, sending: Sending) -> Facts {
    let mut facts = facts(head);
    let partition = facts.partitions.get_mut(&0).unwrap();
    partition.record = Some(record(&[1, 2, 3], (sending != Sending::Unsent).then_some(5)));
    partition.sending = sending;
    facts
}

/// What a plan hands out: attempt, place (none for a SNARK), sectors.
fn handed(actions: &[Action]) -> Vec<(u32, Option<String>, Vec<u64>)> {
    let of = |action: &Action| match action {
        Action::HandOut { attempt, order, .. } => {
            let place = match order {
                Order::Vanilla { place, .. } => Some(place.to_string()),
                Order::Snark { .. } => None,
            };
            Some((*attempt, place, order.numbers().into_iter().map(|n| n.0).collect()))
        }
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// Makes a plan and notes what it hands out.
fn go(facts: &Facts, ledger: &mut Ledger) -> Vec<Action> {
    ledger.observe(facts);
    let actions = plan(facts, ledger, &POLICY);
    for action in &actions {
        if let Action::HandOut { partition, attempt, order } = action {
            ledger.work(*partition).handed_out(*attempt, order.clone(), facts.head);
        }
    }
    actions
}

fn came(ledger: &mut Ledger, attempt: u32, at: &str, good: &[u64], bad: &[u64]) {
    let bad: Vec<_> = bad.iter().map(|n| (SectorNumber(*n), "cannot read tree-r-last".to_owned())).collect();
    ledger.work(0).vanilla_came(attempt, &place(at), part(good), &bad).unwrap();
}

#[test]
fn nothing_happens_before_the_challenge_is_deep_enough() {
    assert!(go(&facts(27), &mut Ledger::default()).is_empty());
}

#[test]
fn one_vanilla_task_a_place_then_one_snark() {
    let mut ledger = Ledger::default();
    let first = handed(&go(&facts(28), &mut ledger));
    assert_eq!(first, [(1, Some("east".into()), vec![1, 2]), (2, Some("west".into()), vec![3])]);
    assert!(handed(&go(&facts(28), &mut ledger)).is_empty(), "asked for once");
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    assert!(handed(&go(&facts(29), &mut ledger)).is_empty(), "west is awaited");
    came(&mut ledger, 2, "west", &[3], &[]);
    assert_eq!(handed(&go(&facts(29), &mut ledger)), [(3, None, vec![1, 2, 3])]);
    assert!(handed(&go(&facts(30), &mut ledger)).is_empty(), "the SNARK is awaited");
}

#[test]
fn an_unreadable_sector_is_asked_for_elsewhere_then_again_then_skipped() {
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    came(&mut ledger, 2, "west", &[], &[3]);
    assert_eq!(handed(&go(&facts(28), &mut ledger)), [(3, Some("east".into()), vec![3])], "its second copy");
    came(&mut ledger, 3, "east", &[], &[3]);
    assert_eq!(handed(&go(&facts(28), &mut ledger)), [(4, Some("west".into()), vec![3])], "the first one again");
    came(&mut ledger, 4, "west", &[], &[3]);
    assert_eq!(handed(&go(&facts(28), &mut ledger)), [(5, Some("east".into()), vec![3])]);
    came(&mut ledger, 5, "east", &[], &[3]);
    let actions = go(&facts(28), &mut ledger);
    assert_eq!(handed(&actions), [(6, None, vec![1, 2])], "the rest is proven without it");
    let skipped = ledger.work(0).skipped(&partition(), &[SectorNumber(1), SectorNumber(2)]);
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].1.contains("cannot read tree-r-last") && skipped[0].1.contains("west"), "{}", skipped[0].1);
}

#[test]
fn a_sector_that_no_record_knows_is_skipped() {
    let mut facts = facts(28);
    facts.partitions.get_mut(&0).unwrap().to_prove.get_mut(&SectorNumber(3)).unwrap().replicas.clear();
    let mut ledger = Ledger::default();
    assert_eq!(handed(&go(&facts, &mut ledger)), [(1, Some("east".into()), vec![1, 2])]);
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    assert_eq!(handed(&go(&facts, &mut ledger)), [(2, None, vec![1, 2])]);
}

#[test]
fn a_silent_place_is_asked_again_and_left_out_at_half_time() {
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    assert!(handed(&go(&facts(33), &mut ledger)).is_empty(), "a third of 18 epochs is its time");
    assert_eq!(handed(&go(&facts(34), &mut ledger)), [(3, Some("west".into()), vec![3])]);
    assert_eq!(handed(&go(&facts(36), &mut ledger)), [(4, None, vec![1, 2])], "half time: without it");
    let skipped = ledger.work(0).skipped(&partition(), &[SectorNumber(1), SectorNumber(2)]);
    assert_eq!(skipped[0].1, "no answer from place west");
}

#[test]
fn a_late_answer_still_counts() {
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    go(&facts(34), &mut ledger);
    came(&mut ledger, 2, "west", &[3], &[]);
    assert_eq!(ledger.work(0).vanilla_came(3, &place("west"), part(&[3]), &[]), Err(crate::partition::Unused::Covered));
    assert_eq!(handed(&go(&facts(34), &mut ledger)), [(4, None, vec![1, 2, 3])]);
}

#[test]
fn results_that_answer_something_else_are_refused() {
    use crate::partition::Unused;
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    let work = ledger.work(0);
    assert_eq!(work.vanilla_came(9, &place("east"), part(&[1, 2]), &[]), Err(Unused::NoSuchTask(9)));
    assert_eq!(work.vanilla_came(1, &place("west"), part(&[1, 2]), &[]), Err(Unused::AnswersAnother(1)));
    assert_eq!(work.vanilla_came(1, &place("east"), part(&[1]), &[]), Err(Unused::AnswersAnother(1)));
    assert_eq!(work.vanilla_came(1, &place("east"), part(&[1, 1, 2]), &[]), Err(Unused::AnswersAnother(1)));
    assert_eq!(work.failed(9, 28), Err(Unused::NoSuchTask(9)));
    assert_eq!(work.snark_sectors(1), None);
}

#[test]
fn a_failed_task_is_handed_out_again_at_the_next_head() {
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    ledger.work(0).failed(2, 28).unwrap();
    assert!(go(&facts(28), &mut ledger).is_empty(), "not at once: a fault that comes back would spin");
    assert_eq!(handed(&go(&facts(29), &mut ledger)), [(3, Some("west".into()), vec![3])]);
}

#[test]
fn three_failed_snarks_put_the_vanilla_proofs_in_doubt() {
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    came(&mut ledger, 2, "west", &[3], &[]);
    for (head, attempt) in [(28, 3), (29, 4), (30, 5)] {
        assert_eq!(handed(&go(&facts(head), &mut ledger)), [(attempt, None, vec![1, 2, 3])]);
        ledger.work(0).failed(attempt, head).unwrap();
    }
    let again = handed(&go(&facts(31), &mut ledger));
    assert_eq!(again.iter().map(|(_, place, _)| place.is_some()).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn lost_tasks_are_offered_again_once_all_results_are_in() {
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    let reoffered = |actions: Vec<Action>| actions.iter().filter(|a| matches!(a, Action::Reoffer { .. })).count();
    assert_eq!(reoffered(go(&facts(28), &mut ledger)), 0, "not at the head they were handed out at");
    assert_eq!(
        reoffered(go(&Facts { results_drained: false, ..facts(29) }, &mut ledger)),
        0,
        "an answer may be waiting"
    );
    assert_eq!(reoffered(go(&facts(29), &mut ledger)), 2);
}

#[test]
fn another_challenge_voids_all_work() {
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    let reorged = Facts { randomness: Bytes32([8; 32]), ..facts(29) };
    let again = handed(&go(&reorged, &mut ledger));
    assert_eq!(again, [(3, Some("east".into()), vec![1, 2]), (4, Some("west".into()), vec![3])], "new attempt numbers");
    let stale = Facts { randomness: Bytes32([8; 32]), ..proven(31, Sending::Unsent) };
    assert_ne!(handed(&go(&stale, &mut Ledger::default())), [], "a proof of the old challenge is no proof");
}

#[test]
fn a_proof_is_sent_in_the_open_window_only() {
    let sent = |head| {
        plan(&proven(head, Sending::Unsent), &Ledger::default(), &POLICY)
            .contains(&Action::Submit { partitions: vec![0] })
    };
    let heads: Vec<_> = (27..=46).filter(|head| sent(*head)).collect();
    assert_eq!(heads, (29..=43).collect::<Vec<_>>(), "executed from 30 to 44");
}

#[test]
fn a_message_is_waited_for_and_replaced_only_when_it_failed() {
    let at = |head, sending| plan(&proven(head, sending), &Ledger::default(), &POLICY);
    assert!(at(32, Sending::InFlight).is_empty());
    assert!(at(32, Sending::Accepted { height: 31 }).is_empty(), "it shows in the state soon");
    let again = |exit_code| [Action::SendAgain { partition: 0, exit_code }];
    assert_eq!(at(32, Sending::Failed { exit_code: Some(16) }), again(Some(16)));
    assert_eq!(at(32, Sending::Failed { exit_code: None }), again(None), "its nonce was taken");
    assert_eq!(at(34, Sending::Accepted { height: 31 }), again(None), "a reorg took it away");
}

#[test]
fn messages_that_keep_failing_are_not_sent_for_ever() {
    let mut ledger = Ledger::default();
    ledger.work(0).failed_sends = FAILED_SENDS_MAX;
    assert!(plan(&proven(32, Sending::Unsent), &ledger, &POLICY).is_empty());
}

#[test]
fn landing_is_written_down_when_it_is_deep_enough() {
    let mut landed = proven(33, Sending::InFlight);
    landed.partitions.get_mut(&0).unwrap().submitted = true;
    let mut ledger = Ledger::default();
    assert!(go(&landed, &mut ledger).is_empty(), "seen at 33");
    landed.head = 34;
    assert_eq!(go(&landed, &mut ledger), [Action::Landed { partition: 0, epoch: 33 }]);
    landed.partitions.get_mut(&0).unwrap().submitted = false;
    landed.head = 35;
    assert!(go(&landed, &mut ledger).is_empty(), "gone with a reorg: the message lands again");
    landed.partitions.get_mut(&0).unwrap().submitted = true;
    landed.head = 36;
    assert!(go(&landed, &mut ledger).is_empty(), "counted anew");
}

#[test]
fn a_standby_decides_nothing_that_costs() {
    for mut facts in [facts(31), proven(31, Sending::Unsent), proven(31, Sending::Failed { exit_code: Some(16) })] {
        facts.leading = false;
        assert!(go(&facts, &mut Ledger::default()).is_empty());
    }
}

#[test]
fn an_unproven_partition_is_missed_once_and_says_how_far_it_came() {
    let mut ledger = Ledger::default();
    go(&facts(28), &mut ledger);
    came(&mut ledger, 1, "east", &[1, 2], &[]);
    let actions = go(&facts(45), &mut ledger);
    let missed = Missed { partition: 0, sectors: 3, reached: Reached::Vanilla };
    assert_eq!(actions, [Action::Missed { partitions: vec![missed] }, Action::Finish]);
    ledger.work(0).given_up = true;
    assert_eq!(go(&facts(46), &mut ledger), [Action::Finish]);
}

#[test]
fn a_message_in_flight_at_the_close_has_time_for_its_receipt() {
    let mut ledger = Ledger::default();
    assert!(go(&proven(45, Sending::InFlight), &mut ledger).is_empty());
    assert!(go(&proven(46, Sending::Accepted { height: 45 }), &mut ledger).is_empty(), "landed in the last epoch");
    let done = go(&proven(47, Sending::Accepted { height: 45 }), &mut ledger);
    assert_eq!(done, [Action::Landed { partition: 0, epoch: 46 }, Action::Finish]);
    let missed = Missed { partition: 0, sectors: 3, reached: Reached::Message };
    let late = go(&proven(48, Sending::InFlight), &mut Ledger::default());
    assert_eq!(late, [Action::Missed { partitions: vec![missed] }, Action::Finish]);
}

#[test]
fn an_empty_window_is_finished_at_its_close_without_a_word() {
    let empty = |head| Facts { partitions: BTreeMap::new(), ..facts(head) };
    for head in 27..45 {
        assert!(go(&empty(head), &mut Ledger::default()).is_empty(), "head {head}");
    }
    assert_eq!(go(&empty(45), &mut Ledger::default()), [Action::Finish]);
}
