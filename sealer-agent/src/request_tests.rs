//! Every state against every stage.

use streams::{
    id::{Incarnation, SectorId, StoreId},
    message::ArtifactRef,
    proof::{Bytes32, Drawn, ProofBytes, SealProof},
    sector::{MessageRef, ParkReason, Persisted, Piece, Placement, PreCommit},
    stage::Class,
};

use super::*;

fn here() -> Place {
    "here".parse().unwrap()
}

fn at() -> Placement {
    Placement { place: here(), store: StoreId(uuid::Uuid::nil()), generation: 1 }
}

fn drawn(epoch: i64) -> Drawn {
    Drawn { epoch, value: Bytes32([7; 32]) }
}

fn sealed() -> Sealed {
    let [comm_d, comm_r] = [Bytes32([1; 32]), Bytes32([2; 32])];
    Sealed { at: at(), ticket: drawn(10), comm_d, comm_r, persisted: None }
}

fn pre_commit() -> PreCommit {
    PreCommit { message: Some(message()), epoch: 20 }
}

fn message() -> MessageRef {
    MessageRef { sender: "f1abc".to_owned(), nonce: 3 }
}

fn proving(finalized: bool) -> SectorState {
    SectorState::Proving {
        sealed: sealed().into(),
        pre_commit: Some(pre_commit()),
        seed: Some(drawn(25)),
        prove_commit: Some(message()),
        activation: 30,
        expiration: 600,
        deadline: 1,
        partition: 0,
        finalized,
    }
}

/// One of each state, with the stages that are due in it.
fn states() -> Vec<(SectorState, Vec<Stage>)> {
    use Stage::{AddPiece, C1, C2, Finalize, Pc1, Pc2, Persist, Place, TreeD, Unseal};
    let comm_d = Bytes32([1; 32]);
    let ticket = drawn(10);
    let c1 = ArtifactRef { name: "c1".to_owned(), bytes: 1, sha256: Bytes32([0; 32]) };
    let (seed, proof) = (drawn(25), ProofBytes(vec![1]));
    let late = [Persist, Unseal];
    let with = |stage: Stage| [late.as_slice(), &[stage]].concat();
    vec![
        (SectorState::Allocated {}, vec![Place]),
        (SectorState::Placed { at: at() }, vec![AddPiece]),
        (SectorState::PiecesAdded { at: at() }, vec![TreeD]),
        (SectorState::TreeDDone { at: at(), comm_d }, vec![Pc1]),
        (SectorState::Ticketed { at: at(), comm_d, ticket }, vec![Pc1]),
        (SectorState::Pc1Done { at: at(), comm_d, ticket }, vec![Pc2]),
        (SectorState::Pc2Done { sealed: sealed() }, late.to_vec()),
        (SectorState::PreCommitSent { sealed: sealed(), message: message() }, late.to_vec()),
        (SectorState::PreCommitted { sealed: sealed(), pre_commit: pre_commit() }, late.to_vec()),
        (SectorState::SeedReady { sealed: sealed(), pre_commit: pre_commit(), seed }, with(C1)),
        (SectorState::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed, c1 }, with(C2)),
        (SectorState::C2Done { sealed: sealed(), pre_commit: pre_commit(), seed, proof: proof.clone() }, late.to_vec()),
        (
            SectorState::ProveCommitSent {
                sealed: sealed(),
                pre_commit: pre_commit(),
                seed,
                proof,
                message: message(),
            },
            late.to_vec(),
        ),
        (proving(false), with(Finalize)),
        (proving(true), late.to_vec()),
        (
            SectorState::Parked {
                was: Box::new(SectorState::Placed { at: at() }),
                reason: ParkReason { code: 1, text: "x".to_owned() },
            },
            vec![],
        ),
        (SectorState::Aborted { reason: "x".to_owned() }, vec![]),
    ]
}

fn record(state: SectorState) -> SectorRecord {
    let piece = Piece {
        name: "a".to_owned(),
        url: "http://127.0.0.1/a".to_owned(),
        payload_bytes: 100,
        payload_sha256: Bytes32([3; 32]),
        padded_bytes: 128,
        offset_padded: 0,
        commitment: Bytes32([4; 32]),
    };
    SectorRecord {
        id: SectorId::from_key("f01000.17").unwrap(),
        incarnation: Incarnation::FIRST,
        proof: SealProof::Drg2KiBV1_1,
        pieces: vec![piece],
        submitted_at: Timestamp(1),
        state,
        entered_at: Timestamp(1),
        seq: 1,
        what: String::new(),
        generations_lost: 0,
        errors: vec![],
        story: vec![],
        messages: vec![],
    }
}

#[test]
fn each_state_wants_its_stages_and_no_other() {
    for (state, wanted) in states() {
        let record = record(state);
        for stage in Stage::ALL {
            let due = due(stage, &record, &here());
            let name = record.state.name();
            assert_eq!(due == Due::Now, wanted.contains(&stage), "{stage} in {name}: {due:?}");
        }
    }
}

#[test]
fn a_pointer_ahead_of_the_truth_is_not_thrown_away() {
    let early = record(SectorState::TreeDDone { at: at(), comm_d: Bytes32([1; 32]) });
    assert_eq!(due(Stage::Pc2, &early, &here()), Due::NotYet);
    assert_eq!(due(Stage::TreeD, &early, &here()), Due::MovedOn);
}

#[test]
fn work_that_was_placed_elsewhere_is_not_ours() {
    let elsewhere: Place = "elsewhere".parse().unwrap();
    for (state, wanted) in states() {
        let record = record(state);
        for stage in wanted {
            let free = matches!(stage, Stage::Place | Stage::C2 | Stage::Unseal);
            let expected = if free { Due::Now } else { Due::MovedOn };
            assert_eq!(due(stage, &record, &elsewhere), expected, "{stage} in {}", record.state.name());
        }
    }
}

#[test]
fn a_persisted_replica_is_not_persisted_again() {
    let mut made = sealed();
    made.persisted =
        Some(Persisted { store: StoreId(uuid::Uuid::nil()), place: here(), sealed_sha256: Bytes32([0; 32]) });
    assert_eq!(due(Stage::Persist, &record(SectorState::Pc2Done { sealed: made }), &here()), Due::MovedOn);
}

#[test]
fn requests_follow_the_record() {
    let files = SectorPaths { root: "/s".into() };
    let job = Path::new("/j");
    for (state, wanted) in states() {
        let record = record(state);
        for stage in wanted {
            let request = match stage {
                Stage::Place | Stage::Persist | Stage::Unseal => continue,
                Stage::C2 => c2(&record, job),
                _ => on_sector(stage, &record, &files, job),
            };
            // Before the ticket is drawn there is nothing to ask of the prover.
            let ticketless = matches!(record.state, SectorState::TreeDDone { .. });
            assert_eq!(request.is_some(), !ticketless, "{stage} in {}", record.state.name());
            if let Some(request) = request {
                assert_eq!(request.work.name(), stage.as_str());
            }
        }
    }
}

#[test]
fn an_empty_sector_has_no_staged_file() {
    let files = SectorPaths { root: "/s".into() };
    let mut empty = record(SectorState::PiecesAdded { at: at() });
    empty.pieces.clear();
    let Some(Request { work: Work::TreeD { staged, .. }, .. }) =
        on_sector(Stage::TreeD, &empty, &files, Path::new("/j"))
    else {
        panic!("no tree-d request");
    };
    assert_eq!(staged, None);
}

#[test]
fn unseal_writes_beside_its_scratch_and_never_into_the_cache() {
    let order = UnsealOrder { offset_unpadded: 0, length_unpadded: 127, payload_bytes: 100, deliver_to: String::new() };
    let request = unseal(&record(proving(true)), &order, "/p/sealed".into(), Path::new("/s/scratch/x")).unwrap();
    let Work::Unseal { scratch, output, .. } = request.work else { panic!("not an unseal") };
    assert_eq!(scratch, Path::new("/s/scratch/x/cache"));
    assert_eq!(output, Path::new("/s/scratch/x/data"));
}

#[test]
fn what_failed_for_this_machine_s_sake_is_left_to_another_for_a_while() {
    let agent = |name: &str, place: &str, class| AgentRecord {
        agent: name.parse().unwrap(),
        place: place.parse().unwrap(),
        host: "h".to_owned(),
        pid: 1,
        run: uuid::Uuid::nil(),
        version: "0".to_owned(),
        started_at: Timestamp(1),
        at: Timestamp(1),
        classes: vec![streams::records::ClassSlots { class, slots: 1, used: 0 }],
        jobs: vec![],
        duty: streams::duty::Duty::Serving,
    };
    let error = |name: &str, stage, code: &str| StageError {
        at: Timestamp(1_000),
        stage,
        attempt: 1,
        agent: name.parse().unwrap(),
        code: code.to_owned(),
        message: String::new(),
        until: None,
        elsewhere: code == "out-of-memory",
    };
    let here: Place = "here".parse().unwrap();
    let me: AgentId = "me".parse().unwrap();
    let of = |stage, errors: Vec<StageError>, others: &[AgentRecord], now| {
        let record = SectorRecord { errors, ..crate::sample::allocated(1) };
        let window = Duration::from_secs(180);
        let words = record
            .failed_here(stage, &me)
            .map_or(Elsewhere::No, |error| elsewhere(error, &me, &here, others, Timestamp(now), window));
        format!("{words:?}")
    };
    let (c2, pc2) = (Class::C2Gpu, Class::Pc2Gpu);
    let oom = |name: &str, stage| error(name, stage, "out-of-memory");
    let leave = "Leave { code: \"out-of-memory\" }";
    let cases = [
        ("no failure", Stage::C2, vec![], vec![agent("b", "x", c2)], 2_000, "No"),
        ("mine", Stage::C2, vec![oom("me", Stage::C2)], vec![agent("b", "x", c2)], 2_000, leave),
        (
            "another's is newer",
            Stage::C2,
            vec![oom("me", Stage::C2), oom("b", Stage::C2)],
            vec![agent("b", "x", c2)],
            2_000,
            "No",
        ),
        ("of another stage", Stage::C2, vec![oom("me", Stage::C1)], vec![agent("b", "x", c2)], 2_000, "No"),
        (
            "the sector's fault",
            Stage::C2,
            vec![error("me", Stage::C2, "crashed")],
            vec![agent("b", "x", c2)],
            2_000,
            "No",
        ),
        ("nobody else", Stage::C2, vec![oom("me", Stage::C2)], vec![agent("me", "here", c2)], 2_000, "No"),
        ("another class", Stage::C2, vec![oom("me", Stage::C2)], vec![agent("b", "x", pc2)], 2_000, "No"),
        ("bound, elsewhere", Stage::Pc2, vec![oom("me", Stage::Pc2)], vec![agent("b", "x", pc2)], 2_000, "No"),
        ("bound, here", Stage::Pc2, vec![oom("me", Stage::Pc2)], vec![agent("b", "here", pc2)], 2_000, leave),
        (
            "long ago",
            Stage::C2,
            vec![oom("me", Stage::C2)],
            vec![agent("b", "x", c2)],
            181_000,
            "NobodyTook { code: \"out-of-memory\" }",
        ),
    ];
    for (case, stage, errors, others, now, want) in cases {
        assert_eq!(of(stage, errors, &others, now), want, "{case}");
    }
}
