//! One of everything: a record in each state, an event of each kind.

use streams::{
    id::{AgentId, Incarnation, MinerId, Place, SectorId, SectorNumber, StoreId, Timestamp},
    message::{ArtifactRef, ClaimRef, Facts, Failure, FailureClass},
    proof::{Bytes32, Drawn, ProofBytes, SealProof},
    sector::{
        Attached, MessageRef, ParkReason, Persisted, Piece, Placement, PreCommit, Sealed, SectorRecord,
        SectorState as S, Succession,
    },
    stage::Stage,
};

use crate::sector::{Done, Event, Failed, Landing, LostStore, OnChain, Rules, park::Code};

pub(crate) const RULES: Rules = Rules { attempts_max: 3 };
pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000);

pub(crate) fn bytes(n: u8) -> Bytes32 {
    Bytes32([n; 32])
}

pub(crate) fn ticket() -> Drawn {
    Drawn { epoch: 95, value: bytes(7) }
}

pub(crate) fn seed() -> Drawn {
    Drawn { epoch: 125, value: bytes(8) }
}

pub(crate) fn place() -> Place {
    "host-1".parse().unwrap()
}

pub(crate) fn agent() -> AgentId {
    "agent-1".parse().unwrap()
}

pub(crate) fn store(n: u128) -> StoreId {
    StoreId(uuid::Uuid::from_u128(n))
}

pub(crate) fn at() -> Placement {
    Placement { place: place(), store: store(1), generation: 1 }
}

pub(crate) fn persisted() -> Persisted {
    Persisted { store: store(2), place: place(), sealed_sha256: bytes(9) }
}

pub(crate) fn sealed() -> Sealed {
    Sealed { at: at(), ticket: ticket(), comm_d: bytes(1), comm_r: bytes(2), persisted: Some(persisted()) }
}

pub(crate) fn message(nonce: u64) -> MessageRef {
    MessageRef { sender: "f1sender".to_owned(), nonce }
}

pub(crate) fn pre_commit() -> PreCommit {
    PreCommit { message: Some(message(1)), epoch: 120 }
}

pub(crate) fn artifact() -> ArtifactRef {
    ArtifactRef { name: "c1-f01000-1".to_owned(), bytes: 10, sha256: bytes(3) }
}

pub(crate) fn proof() -> ProofBytes {
    ProofBytes(vec![5; 192])
}

pub(crate) fn piece() -> Piece {
    Piece {
        name: "cat.png".to_owned(),
        url: "http://127.0.0.1:7410/pieces/00".to_owned(),
        payload_bytes: 1000,
        payload_sha256: bytes(4),
        padded_bytes: 1024,
        offset_padded: 0,
        commitment: bytes(6),
    }
}

pub(crate) fn record(state: S) -> SectorRecord {
    SectorRecord {
        id: SectorId { miner: MinerId(1000), number: SectorNumber(1) },
        incarnation: Incarnation::FIRST,
        proof: SealProof::Drg2KiBV1_1,
        pieces: vec![piece()],
        submitted_at: Timestamp(NOW.0 - 60_000),
        state,
        entered_at: Timestamp(NOW.0 - 1000),
        seq: 5,
        what: String::new(),
        generations_lost: 0,
        errors: Vec::new(),
        story: Vec::new(),
        messages: Vec::new(),
    }
}

pub(crate) fn proving(finalized: bool) -> S {
    S::Proving {
        sealed: sealed().into(),
        pre_commit: Some(pre_commit()),
        seed: Some(seed()),
        prove_commit: Some(message(2)),
        activation: 130,
        expiration: 1000,
        deadline: 3,
        partition: 0,
        finalized,
    }
}

pub(crate) fn attached() -> S {
    S::Proving {
        sealed: Attached { comm_r: bytes(2), store: store(2), place: place() }.into(),
        pre_commit: None,
        seed: None,
        prove_commit: None,
        activation: 130,
        expiration: 1000,
        deadline: 3,
        partition: 0,
        finalized: true,
    }
}

/// A state of each kind, and the variants that want something else.
pub(crate) fn states() -> Vec<S> {
    let unpersisted = || Sealed { persisted: None, ..sealed() };
    vec![
        S::Allocated {},
        S::Placed { at: at() },
        S::PiecesAdded { at: at() },
        S::TreeDDone { at: at(), comm_d: bytes(1) },
        S::Ticketed { at: at(), comm_d: bytes(1), ticket: ticket() },
        S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() },
        S::Pc2Done { sealed: sealed() },
        S::Pc2Done { sealed: unpersisted() },
        S::PreCommitSent { sealed: sealed(), message: message(1) },
        S::PreCommitted { sealed: unpersisted(), pre_commit: pre_commit() },
        S::SeedReady { sealed: sealed(), pre_commit: pre_commit(), seed: seed() },
        S::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed: seed(), c1: artifact() },
        S::C2Done { sealed: sealed(), pre_commit: pre_commit(), seed: seed(), proof: proof() },
        S::C2Done { sealed: unpersisted(), pre_commit: pre_commit(), seed: seed(), proof: proof() },
        S::ProveCommitSent {
            sealed: sealed(),
            pre_commit: pre_commit(),
            seed: seed(),
            proof: proof(),
            message: message(2),
        },
        proving(false),
        proving(true),
        attached(),
        parked(proving(false)),
        S::Parked {
            was: Box::new(S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() }),
            reason: ParkReason { code: 1002, text: "look".to_owned() },
        },
        S::Aborted { reason: "no".to_owned() },
        expired(Succession::Wanted {}),
        expired(Succession::Named { by: successor() }),
        expired(Succession::Begun { by: successor() }),
    ]
    .into_iter()
    .chain(resealings())
    .collect()
}

pub(crate) fn parked(was: S) -> S {
    S::Parked { was: Box::new(was), reason: ParkReason { code: 1002, text: "look".to_owned() } }
}

pub(crate) fn successor() -> SectorId {
    SectorId { miner: MinerId(1000), number: SectorNumber(2) }
}

fn expired(successor: Succession) -> S {
    S::PreCommitExpired { pre_commit: pre_commit(), due: 86_670, successor }
}

pub(crate) fn resealing(files: S, chain: S) -> S {
    S::Resealing { files: Box::new(files), chain: Box::new(chain) }
}

/// The same ticket in the generation after [`at`].
pub(crate) fn again() -> Placement {
    Placement { place: place(), store: store(3), generation: 2 }
}

/// Every state of the files beside every state of the chain.
fn resealings() -> Vec<S> {
    let unpersisted = Sealed { persisted: None, ..sealed() };
    let files = [
        S::Allocated {},
        S::Placed { at: again() },
        S::PiecesAdded { at: again() },
        S::TreeDDone { at: again(), comm_d: bytes(1) },
        S::Ticketed { at: again(), comm_d: bytes(1), ticket: ticket() },
        S::Pc1Done { at: again(), comm_d: bytes(1), ticket: ticket() },
    ];
    let chain = [
        S::PreCommitSent { sealed: unpersisted.clone(), message: message(1) },
        S::PreCommitted { sealed: sealed(), pre_commit: pre_commit() },
        S::SeedReady { sealed: unpersisted.clone(), pre_commit: pre_commit(), seed: seed() },
        S::C1Done { sealed: unpersisted.clone(), pre_commit: pre_commit(), seed: seed(), c1: artifact() },
        S::C2Done { sealed: unpersisted, pre_commit: pre_commit(), seed: seed(), proof: proof() },
    ];
    let beside = |files: &S| chain.iter().map(|chain| resealing(files.clone(), chain.clone())).collect::<Vec<_>>();
    let mut all: Vec<S> = files.iter().flat_map(beside).collect();
    all.extend(all.first().cloned().map(parked));
    all
}

pub(crate) fn facts(stage: Stage) -> Facts {
    match stage {
        Stage::Place => Facts::Place { store: store(1) },
        Stage::AddPiece => Facts::AddPiece { pieces: vec![bytes(6)] },
        Stage::TreeD => Facts::TreeD { comm_d: bytes(1) },
        Stage::Pc1 => Facts::Pc1 {},
        Stage::Pc2 => Facts::Pc2 { comm_d: bytes(1), comm_r: bytes(2) },
        Stage::Persist => Facts::Persist { store: store(2), sealed_sha256: bytes(9) },
        Stage::C1 => Facts::C1 { artifact: artifact() },
        Stage::C2 => Facts::C2 { proof: proof() },
        Stage::Finalize => Facts::Finalize {},
        Stage::Unseal => Facts::Unseal { sha256: bytes(4) },
    }
}

pub(crate) fn claim(attempt: u32, generation: u32) -> ClaimRef {
    ClaimRef { attempt, fence: 17, generation, incarnation: Incarnation::FIRST }
}

pub(crate) fn done_in(stage: Stage, generation: u32) -> Event {
    Event::Done(Box::new(Done {
        facts: facts(stage),
        agent: agent(),
        place: place(),
        claim: claim(1, generation),
        started_at: Timestamp(NOW.0 - 900),
        ended_at: Timestamp(NOW.0 - 100),
        verified_over: (stage == Stage::C2).then(seed),
    }))
}

pub(crate) fn done(stage: Stage) -> Event {
    done_in(stage, 1)
}

pub(crate) fn failed_in(stage: Stage, class: FailureClass, generation: u32) -> Event {
    Event::Failed(Box::new(Failed {
        stage,
        agent: agent(),
        place: place(),
        claim: claim(1, generation),
        at: NOW,
        failure: Failure { class, code: "crashed".to_owned(), message: "signal 9".to_owned() },
    }))
}

/// The `attempt`th failure of a stage.
pub(crate) fn attempt_failed(stage: Stage, class: FailureClass, attempt: u32) -> Event {
    match failed(stage, class) {
        Event::Failed(mut failed) => {
            failed.claim.attempt = attempt;
            Event::Failed(failed)
        }
        other => other,
    }
}

pub(crate) fn failed(stage: Stage, class: FailureClass) -> Event {
    failed_in(stage, class, 1)
}

pub(crate) fn landing(nonce: u64, exit_code: u32) -> Landing {
    Landing { message: message(nonce), cid: format!("bafy{nonce}"), height: 120, exit_code, gas_used: 15_460_000 }
}

pub(crate) fn on_chain() -> OnChain {
    OnChain { activation: 130, expiration: 1000, deadline: 3, partition: 0 }
}

pub(crate) const CLASSES: [FailureClass; 9] = [
    FailureClass::RetryHere,
    FailureClass::RetryElsewhere,
    FailureClass::WaitUntil(Timestamp(NOW.0 + 60_000)),
    FailureClass::RedoFrom(Stage::Place),
    FailureClass::RedoFrom(Stage::AddPiece),
    FailureClass::RedoFrom(Stage::Pc1),
    FailureClass::RedoFrom(Stage::C1),
    FailureClass::Abort,
    FailureClass::Park,
];

/// An event of each kind, each stage and each class of failure.
pub(crate) fn events() -> Vec<Event> {
    let mut events: Vec<Event> = Stage::ALL.into_iter().map(done).collect();
    for stage in Stage::ALL {
        events.extend(CLASSES.into_iter().map(|class| failed(stage, class)));
    }
    events.extend([
        Event::TicketDrawn { ticket: ticket() },
        Event::TicketExpired { head: 900 },
        Event::JoinedPreCommit { message: message(1) },
        Event::JoinedProveCommit { message: message(2) },
        Event::NeverSent { message: message(1) },
        Event::NeverSent { message: message(2) },
        Event::PreCommitLanded { landing: landing(1, 0), epoch: 120 },
        Event::ProveCommitLanded { landing: landing(2, 0), on_chain: on_chain() },
        Event::MessageFailed { landing: landing(1, 16), sector_code: None },
        Event::MessageFailed { landing: landing(2, 7), sector_code: None },
        Event::MessageFailed { landing: landing(2, 0), sector_code: Some(16) },
        Event::SeedDrawn { seed: seed() },
        Event::SeedDrawn { seed: Drawn { epoch: 126, value: bytes(11) } },
        Event::PreCommitReorged { message: message(1) },
        Event::ProveCommitReorged { message: message(2), proof: proof() },
        Event::ProveCommitVoid { landing: landing(2, 16), exit_code: 16, epoch: Some(140) },
        Event::ProveCommitVoid { landing: landing(2, 17), exit_code: 17, epoch: None },
        Event::Rejected { code: Code::PreCommitRefused, text: "collision".to_owned() },
        Event::Rejected { code: Code::ProveCommitRefused, text: "bad proof".to_owned() },
        Event::Rejected { code: Code::PreCommitGone, text: "gone".to_owned() },
        Event::PreCommitExpired { due: 86_670 },
        Event::SuccessorNamed { by: successor() },
        Event::SuccessorBegun { by: successor() },
        Event::Retry { from: None },
        Event::Abort { reason: "a person says so".to_owned() },
    ]);
    events.extend(Stage::ALL.into_iter().map(|stage| Event::Retry { from: Some(stage) }));
    for generation in [2, 3] {
        events.extend(Stage::ALL.into_iter().map(|stage| done_in(stage, generation)));
        events.extend(
            Stage::ALL.into_iter().map(|stage| failed_in(stage, FailureClass::RedoFrom(Stage::Pc1), generation)),
        );
    }
    for n in [1, 2, 3, 4] {
        events.extend([130, 86_000].map(|head| lost(n, head)));
    }
    events
}

/// A store is lost; the sample's pre-commit is due at epoch 86,670.
pub(crate) fn lost(n: u128, head: i64) -> Event {
    Event::StoreLost(LostStore { store: store(n), head, prove_commit_max: 86_550 })
}
