//! What a sector is decided to be: one row a case of the table that opens `decide.rs`.

use chain::policy::NetworkPolicy;
use streams::{
    id::{Incarnation, SectorId, StoreId, Timestamp},
    inventory::Holding,
    message::Facts,
    proof::{Bytes32, Drawn, ProofBytes, SealProof},
    sector::{Attached, MessageRef, ParkReason, PreCommit, SectorRecord, SectorState as S},
};

use super::decide::{Decision, Frame, Known, OnChain, Underway, decide};
use crate::sector::{
    PRE_COMMIT, PROVE_COMMIT,
    tests::sample::{record, seed},
    wants::{is_at_rest, wants},
};

const NOW: Timestamp = Timestamp(9_000_000);
const HEAD: i64 = 10_000;
const THIS_LIFE: Incarnation = Incarnation(7);
const COMM_D: Bytes32 = Bytes32([2; 32]);
const COMM_R: Bytes32 = Bytes32([3; 32]);
const OTHER_R: Bytes32 = Bytes32([4; 32]);
const YOUNG: Drawn = Drawn { epoch: HEAD - 1_000, value: Bytes32([5; 32]) };
const OLD: Drawn = Drawn { epoch: HEAD - 3_700, value: Bytes32([5; 32]) };
const PROVING: OnChain =
    OnChain::Proving { comm_r: COMM_R, activation: 5, expiration: 50_000, deadline: 3, partition: 1 };
const PRE_COMMITTED: OnChain = OnChain::PreCommitted { comm_r: COMM_R, epoch: 9_900 };

fn id() -> SectorId {
    record(S::Allocated {}).id
}

fn store(n: u128) -> StoreId {
    StoreId(uuid::Uuid::from_u128(n))
}

fn local(ticket: Option<Drawn>, done: Vec<Facts>) -> Holding {
    Holding {
        store: store(1),
        place: "host1".parse().unwrap(),
        persistent: false,
        sector: id(),
        proof: SealProof::Drg2KiBV1_1,
        pieces: Vec::new(),
        incarnation: Incarnation(6),
        generation: 2,
        ticket,
        done,
        sealed_sha256: None,
        attached: None,
        placed_at: Timestamp(1),
    }
}

fn placed() -> Facts {
    Facts::Place { store: store(1) }
}

fn tree_d() -> Facts {
    Facts::TreeD { comm_d: COMM_D }
}

fn pc2() -> Facts {
    Facts::Pc2 { comm_d: COMM_D, comm_r: COMM_R }
}

/// A folder with a replica.
fn replica(ticket: Drawn) -> Holding {
    local(Some(ticket), vec![placed(), tree_d(), Facts::Pc1 {}, pc2()])
}

fn copy() -> Holding {
    Holding { store: store(2), persistent: true, sealed_sha256: Some(Bytes32([6; 32])), ..replica(OLD) }
}

fn underway(method: &str) -> Underway {
    Underway { method: method.to_owned(), message: message(9) }
}

fn message(nonce: u64) -> MessageRef {
    MessageRef { sender: "f3x".to_owned(), nonce }
}

struct Case {
    what: &'static str,
    record: Option<S>,
    holdings: Vec<Holding>,
    chain: OnChain,
    underway: Option<Underway>,
    heard_all: bool,
}

impl Default for Case {
    fn default() -> Self {
        let holdings = Vec::new();
        Self { what: "", record: None, holdings, chain: OnChain::Nothing, underway: None, heard_all: true }
    }
}

fn decided(case: &Case) -> Decision {
    let record = case.record.clone().map(|state| SectorRecord { incarnation: Incarnation(6), ..record(state) });
    let known = Known {
        id: id(),
        record: record.as_ref(),
        holdings: &case.holdings,
        chain: case.chain,
        underway: case.underway.as_ref(),
    };
    let policy = NetworkPolicy::mainnet();
    let frame = Frame { incarnation: THIS_LIFE, policy: &policy, head: HEAD, now: NOW, heard_all: case.heard_all };
    decide(&known, frame)
}

fn state(case: &Case) -> S {
    match decided(case) {
        Decision::Write { record, .. } => {
            assert_eq!(record.incarnation, THIS_LIFE, "{}", case.what);
            assert_eq!(record.id, id(), "{}: a number stays with its sector", case.what);
            let goes_on = is_at_rest(&record.state) || !wants(&record).is_empty();
            assert!(goes_on, "{}: {:?} wants nothing", case.what, record.state);
            record.state
        }
        other => panic!("{}: {other:?}", case.what),
    }
}

fn pre_commit(message: Option<MessageRef>) -> PreCommit {
    PreCommit { message, epoch: 9_900 }
}

fn sealed() -> streams::sector::Sealed {
    super::files::Files::new(&[replica(YOUNG)]).sealed_with(COMM_R).unwrap()
}

#[test]
fn without_records_chain_and_manifests_decide() {
    let rows: Vec<(&str, Vec<Holding>, OnChain, &str)> = vec![
        (
            "room is promised",
            vec![Holding { pieces: vec![piece()], ..local(None, vec![placed()]) }],
            OnChain::Nothing,
            "placed",
        ),
        ("room for a sector without pieces", vec![local(None, vec![placed()])], OnChain::Nothing, "pieces-added"),
        ("tree-d is built", vec![local(None, vec![placed(), tree_d()])], OnChain::Nothing, "tree-d-done"),
        ("PC1 was claimed", vec![local(Some(YOUNG), vec![placed(), tree_d()])], OnChain::Nothing, "ticketed"),
        ("layers", vec![local(Some(YOUNG), vec![tree_d(), Facts::Pc1 {}])], OnChain::Nothing, "pc1-done"),
        ("a replica", vec![replica(YOUNG)], OnChain::Nothing, "pc2-done"),
        (
            "layers of an old ticket",
            vec![local(Some(OLD), vec![tree_d(), Facts::Pc1 {}])],
            OnChain::Nothing,
            "pieces-added",
        ),
        ("a replica of an old ticket", vec![replica(OLD)], OnChain::Nothing, "pieces-added"),
        ("a persisted copy alone, unknown on chain", vec![copy()], OnChain::Nothing, "parked"),
        ("pre-committed", vec![replica(OLD)], PRE_COMMITTED, "pre-committed"),
        ("pre-committed, a copy alone", vec![copy()], PRE_COMMITTED, "parked"),
        ("pre-committed, layers alone", vec![local(Some(YOUNG), vec![tree_d()])], PRE_COMMITTED, "parked"),
        ("proving", vec![copy()], PROVING, "proving"),
        ("proving, layers alone", vec![local(Some(YOUNG), vec![tree_d()])], PROVING, "parked"),
        ("the number is spent", vec![replica(YOUNG)], OnChain::Spent, "parked"),
    ];
    for (what, holdings, chain, wanted) in rows {
        let found = state(&Case { what, holdings, chain, ..Case::default() });
        assert_eq!(found.name(), wanted, "{what}: {found:?}");
    }
    let foreign = Case { chain: PROVING, ..Case::default() };
    assert_eq!(decided(&foreign), Decision::Foreign, "another program's sector is left alone");
}

fn piece() -> streams::sector::Piece {
    streams::sector::Piece {
        name: "a".to_owned(),
        url: "http://x/a".to_owned(),
        payload_bytes: 100,
        payload_sha256: Bytes32([1; 32]),
        padded_bytes: 128,
        offset_padded: 0,
        commitment: Bytes32([1; 32]),
    }
}

#[test]
fn a_ticket_that_is_too_old_begins_the_next_generation() {
    let found = state(&Case { holdings: vec![replica(OLD)], ..Case::default() });
    let S::PiecesAdded { at } = found else { panic!("{found:?}") };
    assert_eq!(at.generation, 3);
}

#[test]
fn a_pre_commit_keeps_its_ticket_however_old_and_admits_that_its_message_is_unknown() {
    let found = state(&Case { holdings: vec![replica(OLD), copy()], chain: PRE_COMMITTED, ..Case::default() });
    let S::PreCommitted { sealed, pre_commit } = found else { panic!("{found:?}") };
    assert_eq!((sealed.ticket, sealed.at.generation), (OLD, 2));
    assert_eq!(pre_commit, self::pre_commit(None));
    assert_eq!(sealed.persisted.map(|copy| copy.store), Some(store(2)), "the copy is found again");
}

#[test]
fn a_replica_of_another_generation_is_not_the_one_on_chain() {
    let mut other = replica(YOUNG);
    other.done = vec![tree_d(), Facts::Pc1 {}, Facts::Pc2 { comm_d: COMM_D, comm_r: OTHER_R }];
    for chain in [PRE_COMMITTED, PROVING] {
        let found = state(&Case { holdings: vec![other.clone()], chain, ..Case::default() });
        let S::Parked { reason, .. } = found else { panic!("{found:?}") };
        assert_eq!(reason.code, 3001);
    }
}

#[test]
fn an_attached_replica_is_found_again_by_its_manifest_and_the_chain() {
    let held = |comm_r| Holding { persistent: true, generation: 1, attached: Some(comm_r), ..local(None, Vec::new()) };
    let found = state(&Case { holdings: vec![held(COMM_R)], chain: PROVING, ..Case::default() });
    let attached = Attached { comm_r: COMM_R, store: store(1), place: "host1".parse().unwrap() };
    let expected = S::Proving {
        sealed: attached.clone().into(),
        pre_commit: None,
        seed: None,
        prove_commit: None,
        activation: 5,
        expiration: 50_000,
        deadline: 3,
        partition: 1,
        finalized: true,
    };
    assert_eq!(found, expected);
    let unheard = Case { record: Some(expected.clone()), chain: PROVING, heard_all: false, ..Case::default() };
    assert_eq!(decided(&unheard), Decision::Keep, "a record outlives a store that was not heard");
    for (comm_r, chain, code) in [(OTHER_R, PROVING, 3001), (COMM_R, OnChain::Spent, 3002)] {
        let found = state(&Case { holdings: vec![held(comm_r)], chain, ..Case::default() });
        let S::Parked { reason, .. } = found else { panic!("{found:?}") };
        assert_eq!(reason.code, code);
    }
}

#[test]
fn proving_is_trimmed_again_only_where_there_is_something_to_trim() {
    for (holdings, wanted) in [
        (vec![copy()], true),
        (vec![replica(OLD), copy()], false),
        (vec![Holding { done: [replica(OLD).done, vec![Facts::Finalize {}]].concat(), ..replica(OLD) }, copy()], true),
    ] {
        let found = state(&Case { holdings, chain: PROVING, ..Case::default() });
        let S::Proving { finalized, deadline, partition, prove_commit, .. } = found else { panic!("{found:?}") };
        assert_eq!((finalized, deadline, partition, prove_commit), (wanted, 3, 1, None));
    }
}

#[test]
fn what_a_record_knows_beyond_chain_and_stores_is_kept() {
    let (proof, seed) = (ProofBytes(vec![1]), seed());
    let at_chain =
        |state| Case { record: Some(state), holdings: vec![replica(YOUNG)], chain: PRE_COMMITTED, ..Case::default() };
    let known = pre_commit(Some(message(4)));
    let c2 = S::C2Done { sealed: sealed(), pre_commit: known.clone(), seed, proof: proof.clone() };
    assert_eq!(state(&at_chain(c2.clone())), c2, "a verified proof is not made again");
    let sent = S::ProveCommitSent { sealed: sealed(), pre_commit: known.clone(), seed, proof, message: message(9) };
    assert_eq!(state(&at_chain(sent.clone())), c2, "a message that is nowhere never carried it");
    let case = Case { underway: Some(underway(PROVE_COMMIT)), ..at_chain(sent.clone()) };
    assert_eq!(state(&case), sent, "one that the outbox still pushes does");
    let moved = S::SeedReady { sealed: sealed(), pre_commit: PreCommit { epoch: 1, ..known }, seed };
    assert_eq!(state(&at_chain(moved)).name(), "pre-committed", "another pre-commit, another seed");
}

#[test]
fn a_sector_stays_with_the_message_that_may_still_carry_it() {
    let case =
        |record, carried| Case { record, holdings: vec![replica(YOUNG)], underway: Some(carried), ..Case::default() };
    let sent = S::PreCommitSent { sealed: sealed(), message: message(9) };
    assert_eq!(state(&case(None, underway(PRE_COMMIT))), sent, "without a record");
    assert_eq!(state(&case(Some(S::Pc2Done { sealed: sealed() }), underway(PRE_COMMIT))), sent, "with an older one");
    let alone = Case { record: Some(sent), holdings: vec![replica(YOUNG)], ..Case::default() };
    assert_eq!(state(&alone), S::Pc2Done { sealed: sealed() }, "the message is nowhere");
}

#[test]
fn manifests_win_over_an_older_record_and_a_later_generation_over_manifests() {
    let older = Case { record: Some(S::Allocated {}), holdings: vec![replica(YOUNG)], ..Case::default() };
    assert_eq!(state(&older).name(), "pc2-done");
    let mut at = sealed().at;
    at.generation = 3;
    let later =
        Case { record: Some(S::PiecesAdded { at: at.clone() }), holdings: vec![replica(YOUNG)], ..Case::default() };
    assert_eq!(state(&later), S::PiecesAdded { at });
}

#[test]
fn files_count_as_lost_only_when_everybody_was_heard() {
    let (was, chain) = (S::Pc1Done { at: sealed().at, comm_d: COMM_D, ticket: YOUNG }, OnChain::Nothing);
    let case = |heard_all| Case { record: Some(was.clone()), chain, heard_all, ..Case::default() };
    assert_eq!(state(&case(true)), S::Allocated {});
    assert_eq!(state(&case(false)), was);
    let on_chain = |heard_all| Case {
        record: Some(S::PreCommitted { sealed: sealed(), pre_commit: pre_commit(None) }),
        chain: PRE_COMMITTED,
        heard_all,
        ..Case::default()
    };
    assert_eq!(state(&on_chain(true)).name(), "parked");
    assert_eq!(state(&on_chain(false)).name(), "pre-committed");
}

#[test]
fn what_a_person_was_asked_to_look_at_stays_parked_for_its_reason() {
    let reason = ParkReason { code: 1002, text: "as the agent asked".to_owned() };
    let parked = S::Parked { was: Box::new(S::Pc2Done { sealed: sealed() }), reason: reason.clone() };
    let found = state(&Case { record: Some(parked.clone()), holdings: vec![replica(YOUNG)], ..Case::default() });
    assert_eq!(found, parked);
    let found =
        state(&Case { record: Some(parked), holdings: vec![replica(YOUNG)], chain: PROVING, ..Case::default() });
    assert_eq!(found.name(), "proving", "the chain has settled it");
}

#[test]
fn what_is_over_or_decided_already_is_not_written() {
    let aborted = Case { record: Some(S::Aborted { reason: "a person".to_owned() }), ..Case::default() };
    assert_eq!(decided(&aborted), Decision::Keep);
    let policy = NetworkPolicy::mainnet();
    let frame = Frame { incarnation: THIS_LIFE, policy: &policy, head: HEAD, now: NOW, heard_all: true };
    let first = state(&Case { holdings: vec![replica(YOUNG)], ..Case::default() });
    let again = SectorRecord { incarnation: THIS_LIFE, ..record(first) };
    let holdings = [replica(YOUNG)];
    let known = Known { id: id(), record: Some(&again), holdings: &holdings, chain: OnChain::Nothing, underway: None };
    assert_eq!(decide(&known, frame), Decision::Keep, "a rebuild that was cut off goes on where it was");
}
