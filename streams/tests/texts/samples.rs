//! One of everything that is written down.

use streams::{
    attach::{AttachLookRequest, AttachRequest, ProvenFiles},
    control::*,
    duty::{Duty, DutyRequest},
    id::{AgentId, Incarnation, MinerId, Place, SectorId, SectorNumber, StoreId, Timestamp},
    inventory::InventoryRequest,
    lost::LostStore,
    message::*,
    proof::{Bytes32, Drawn, ProofBytes, SealProof},
    records::*,
    sector::*,
    stage::{Class, Stage},
    text::{Text, encode},
};

/// Golden files: name without `.json`, and the bytes this program writes.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        of("", &task()),
        of("unseal", &unseal_task()),
        of("", &post_task(PostWork::Vanilla { sectors: vec![post_sector(3)], order: vec![number(3), number(4)] })),
        of("snark", &post_task(PostWork::Snark { sectors: vec![post_sector(3)], vanilla: vec![vanilla_part()] })),
        of("", &sector_event()),
        of("", &claim()),
        of("", &NumberGiven { at: Timestamp(1_790_000_000_000) }),
        of("", &agent_record()),
        of("", &store_record()),
        of("missing", &missing_store()),
        of("", &chain_head()),
        of("", &deadline()),
        of("", &post_record()),
        of("", &LeaseHeld { holder: "coordinator-host1-6f".to_owned(), at: Timestamp(1_790_000_000_000) }),
        of("", &InventoryRequest { after: None }),
        of("", &DutyRequest { duty: Duty::Cordoned, by: "coordinator agents".to_owned() }),
        of("drain", &DutyRequest { duty: Duty::Draining { until: Timestamp(1_790_000_000_000) }, by: String::new() }),
        of("cordoned", &AgentRecord { duty: Duty::Cordoned, ..agent_record() }),
        of("", &cluster_record()),
        of("", &SectorLock { place: place(), agent: agent(), generation: 1, incarnation: Incarnation::FIRST }),
        of("", &TicketRequest { sector: sector(), agent: agent() }),
        of("", &InfoRequest {}),
        of("", &SubmitRequest { miner: miner(), count: 2, pieces: vec![piece()] }),
        of("", &create_miner()),
        of("", &UnsealRequest { sector: sector(), piece: Some(0), to: None }),
        of("to", &UnsealRequest { sector: sector(), piece: None, to: Some("s3://bucket/a/key".to_owned()) }),
        of("", &RetryRequest { sector: sector(), from: None }),
        of("from", &RetryRequest { sector: sector(), from: Some(Stage::TreeD) }),
        of("", &StoreLostRequest { store: store(), because: "the host burnt".to_owned() }),
        of("", &StoreFoundRequest { store: store() }),
        of("", &AttachLookRequest { sectors: vec![sector()] }),
        of("", &attach_request()),
        of("attached", &SectorRecord { pieces: Vec::new(), ..sector_record(attached()) }),
        of("", &lost_store()),
        of("", &AbortRequest { sector: sector(), reason: "the deal was cancelled".to_owned() }),
    ];
    all.extend(outcomes().into_iter().map(|(what, outcome)| of(what, &task_result(outcome))));
    all.extend(post_outcomes().into_iter().map(|(what, outcome)| of(what, &post_result(outcome))));
    all.extend(fates().into_iter().map(|(what, fate)| of(what, &outbox_entry(fate))));
    all.extend(states().into_iter().map(|state| of(state.name(), &sector_record(state.clone()))));
    all
}

fn of<T: Text>(variant: &str, text: &T) -> (String, Vec<u8>) {
    let name = if variant.is_empty() { T::KIND.to_owned() } else { format!("{}.{variant}", T::KIND) };
    (name, encode(text).unwrap().to_vec())
}

pub(crate) fn miner() -> MinerId {
    MinerId(1000)
}

fn number(n: u64) -> SectorNumber {
    SectorNumber(n)
}

pub(crate) fn sector() -> SectorId {
    SectorId { miner: miner(), number: number(17) }
}

fn agent() -> AgentId {
    "host1-gpu".parse().unwrap()
}

fn place() -> Place {
    "host1".parse().unwrap()
}

fn store() -> StoreId {
    StoreId("9a3c2f70-0d2a-4a0e-8f64-0c9a1e1b7d11".parse().unwrap())
}

fn run() -> uuid::Uuid {
    "5b0f3d8c-0f5c-4a6f-9d6b-2f6b4c1e7a90".parse().unwrap()
}

fn bytes32(fill: u8) -> Bytes32 {
    Bytes32([fill; 32])
}

pub(crate) fn task() -> Task {
    Task { sector: sector(), stage: Stage::Pc2, unseal: None }
}

fn unseal_task() -> Task {
    let order = UnsealOrder {
        offset_unpadded: 127,
        length_unpadded: 254,
        payload_bytes: 200,
        deliver_to: "http://127.0.0.1:8080/unsealed/1".to_owned(),
    };
    Task { sector: sector(), stage: Stage::Unseal, unseal: Some(order) }
}

fn task_result(outcome: Outcome) -> TaskResult {
    TaskResult {
        sector: sector(),
        stage: Stage::Pc2,
        agent: agent(),
        place: place(),
        claim: ClaimRef { attempt: 1, fence: 42, generation: 1, incarnation: Incarnation::FIRST },
        started_at: Timestamp(1_790_000_000_000),
        ended_at: Timestamp(1_790_000_060_000),
        outcome,
    }
}

fn artifact() -> ArtifactRef {
    ArtifactRef { name: "c1.f01000.17.42".to_owned(), bytes: 4096, sha256: bytes32(9) }
}

fn vanilla_part() -> VanillaPart {
    VanillaPart { artifact: artifact(), sectors: vec![number(3)] }
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let done = |facts| Outcome::Done { facts };
    let failed = |class| Outcome::Failed { failure: failure(class) };
    vec![
        ("", done(Facts::Pc2 { comm_d: bytes32(1), comm_r: bytes32(2) })),
        ("place", done(Facts::Place { store: store() })),
        ("add-piece", done(Facts::AddPiece { pieces: vec![bytes32(3)] })),
        ("tree-d", done(Facts::TreeD { comm_d: bytes32(1) })),
        ("pc1", done(Facts::Pc1 {})),
        ("persist", done(Facts::Persist { store: store(), sealed_sha256: bytes32(4) })),
        ("c1", done(Facts::C1 { artifact: artifact() })),
        ("c2", done(Facts::C2 { proof: ProofBytes(vec![7; 192]) })),
        ("finalize", done(Facts::Finalize {})),
        ("unseal", done(Facts::Unseal { sha256: bytes32(5) })),
        ("retry-here", failed(FailureClass::RetryHere)),
        ("retry-elsewhere", failed(FailureClass::RetryElsewhere)),
        ("wait-until", failed(FailureClass::WaitUntil(Timestamp(1_790_000_600_000)))),
        ("redo-from", failed(FailureClass::RedoFrom(Stage::Pc1))),
        ("abort", failed(FailureClass::Abort)),
        ("park", failed(FailureClass::Park)),
    ]
}

fn failure(class: FailureClass) -> Failure {
    Failure { class, code: "crashed".to_owned(), message: "run pc2: the prover was killed by signal 9".to_owned() }
}

fn post_sector(n: u64) -> PostSector {
    PostSector { number: number(n), comm_r: bytes32(2), store: store() }
}

fn post_task(work: PostWork) -> PostTask {
    PostTask {
        miner: miner(),
        deadline: 5,
        open: 120,
        close: 180,
        partition: 0,
        attempt: 1,
        proof: SealProof::Drg2KiBV1_1,
        randomness: bytes32(6),
        work,
    }
}

fn post_result(outcome: PostOutcome) -> PostResult {
    PostResult {
        miner: miner(),
        open: 120,
        partition: 0,
        attempt: 1,
        agent: agent(),
        place: place(),
        started_at: Timestamp(1_790_000_000_000),
        ended_at: Timestamp(1_790_000_001_000),
        outcome,
    }
}

fn post_outcomes() -> Vec<(&'static str, PostOutcome)> {
    let bad = vec![(number(4), "read the replica: no such file".to_owned())];
    vec![
        ("", PostOutcome::Vanilla { artifact: artifact(), proven: vec![number(3)], bad }),
        ("snark", PostOutcome::Snark { proof: ProofBytes(vec![8; 192]) }),
        ("failed", PostOutcome::Failed { failure: failure(FailureClass::RetryElsewhere) }),
    ]
}

fn sector_event() -> SectorEvent {
    SectorEvent {
        sector: sector(),
        seq: 4,
        at: Timestamp(1_790_000_000_000),
        state: "pc1-done".to_owned(),
        what: "pc1 done by host1-gpu in 3h 2m".to_owned(),
    }
}

fn lost_store() -> LostStore {
    LostStore { store: store(), at: Timestamp(1_790_000_000_000), because: "the host burnt".to_owned() }
}

fn cluster_record() -> ClusterRecord {
    ClusterRecord {
        incarnation: Incarnation::FIRST.next(),
        network: "calibrationnet".to_owned(),
        began_at: Timestamp(1_790_000_000_000),
        because: "rebuilt after a total loss".to_owned(),
    }
}

fn claim() -> Claim {
    Claim {
        agent: agent(),
        run: run(),
        attempt: 1,
        generation: 1,
        incarnation: Incarnation::FIRST,
        claimed_at: Timestamp(1_790_000_000_000),
        beat_at: Timestamp(1_790_000_015_000),
    }
}

fn agent_record() -> AgentRecord {
    let job = |what| JobNow {
        what,
        attempt: 1,
        started_at: Timestamp(1_790_000_000_000),
        phase: "layer 3 of 11".to_owned(),
        permille: Some(270),
        bytes: Some(BytesDone { done: 92_771_293_593, total: 343_597_383_680 }),
        bytes_per_s: Some(28_633_115),
        left_ms: None,
    };
    let partition = JobSubject::Partition { class: Class::PostIo, miner: miner(), open: 120, partition: 0 };
    AgentRecord {
        agent: agent(),
        place: place(),
        host: "host1.example".to_owned(),
        pid: 4242,
        run: run(),
        version: "0.1.0".to_owned(),
        started_at: Timestamp(1_790_000_000_000),
        at: Timestamp(1_790_000_020_000),
        classes: Class::ALL.into_iter().map(|class| ClassSlots { class, slots: 2, used: 1 }).collect(),
        jobs: vec![job(JobSubject::Sector { sector: sector(), stage: Stage::Pc1 }), job(partition)],
        duty: Duty::Serving,
    }
}

fn store_record() -> StoreRecord {
    StoreRecord {
        store: store(),
        place: place(),
        path: "/mnt/seal".to_owned(),
        persistent: false,
        bytes_total: 4_000_000_000_000,
        bytes_free: 3_000_000_000_000,
        bytes_reserved: 500_000_000_000,
        sectors: 1,
        at: Timestamp(1_790_000_000_000),
        state: StoreState::Ok,
        why: String::new(),
    }
}

fn missing_store() -> StoreRecord {
    StoreRecord {
        state: StoreState::Missing,
        why: "no store is mounted there".to_owned(),
        bytes_total: 0,
        bytes_free: 0,
        bytes_reserved: 0,
        sectors: 0,
        ..store_record()
    }
}

fn chain_head() -> ChainHead {
    ChainHead {
        epoch: 130,
        tipset: vec!["bafy2bzacea".to_owned()],
        block_delay_secs: 30,
        network: "mainnet".to_owned(),
        at: Timestamp(1_790_000_000_000),
    }
}

fn deadline() -> DeadlineNow {
    DeadlineNow {
        miner: miner(),
        epoch: 130,
        period_start: -2760,
        index: 2,
        open: 120,
        close: 180,
        challenge: 100,
        fault_cutoff: 50,
        period_deadlines: 48,
        proving_period: 2880,
        challenge_window: 60,
        challenge_lookback: 20,
    }
}

fn message_ref() -> MessageRef {
    MessageRef { sender: "f1abjxfbp274xpdqcpuaykwkfb43omjotacm2p3za".to_owned(), nonce: 7 }
}

fn outbox_entry(fate: Fate) -> OutboxEntry {
    OutboxEntry {
        message: message_ref(),
        method: "PreCommitSectorBatch2".to_owned(),
        miner: miner(),
        sectors: vec![number(17)],
        signed: vec![Signed { cid: "bafy2bzaceb".to_owned(), bytes: ProofBytes(vec![1, 2, 3]) }],
        created_at: Timestamp(1_790_000_000_000),
        fate,
    }
}

fn fates() -> Vec<(&'static str, Fate)> {
    let at = Timestamp(1_790_000_100_000);
    let landed = Fate::Landed {
        cid: "bafy2bzaceb".to_owned(),
        height: 140,
        exit_code: 0,
        return_value: ProofBytes(vec![0x80]),
        gas_used: 12_345,
        at,
        settled: true,
    };
    vec![
        ("", Fate::Journaled {}),
        ("pushed", Fate::Pushed { at }),
        ("landed", landed),
        ("displaced", Fate::Displaced { at }),
    ]
}

fn post_record() -> PostRecord {
    PostRecord {
        miner: miner(),
        deadline: 5,
        open: 120,
        close: 180,
        partition: 0,
        randomness: bytes32(6),
        proven: vec![number(3)],
        skipped: vec![(number(4), "unreadable".to_owned())],
        proof: ProofBytes(vec![8; 192]),
        proved_at: Timestamp(1_790_000_000_000),
        message: Some(message_ref()),
        landed_at: Some(131),
    }
}

fn create_miner() -> CreateMinerRequest {
    CreateMinerRequest {
        proof: SealProof::Drg32GiBV1_1,
        from: Some("f01001".to_owned()),
        owner: Some("f01002".to_owned()),
        worker: None,
        peer_id: String::new(),
    }
}

fn piece() -> Piece {
    Piece {
        name: "hello.car".to_owned(),
        url: "http://127.0.0.1:8080/pieces/ab".to_owned(),
        payload_bytes: 100,
        payload_sha256: bytes32(5),
        padded_bytes: 128,
        offset_padded: 0,
        commitment: bytes32(3),
    }
}

fn placement() -> Placement {
    Placement { place: place(), store: store(), generation: 1 }
}

fn drawn(epoch: i64) -> Drawn {
    Drawn { epoch, value: bytes32(6) }
}

fn sealed() -> Sealed {
    Sealed {
        at: placement(),
        ticket: drawn(90),
        comm_d: bytes32(1),
        comm_r: bytes32(2),
        persisted: Some(Persisted { store: store(), place: place(), sealed_sha256: bytes32(4) }),
    }
}

fn attach_request() -> AttachRequest {
    let sectors = vec![ProvenFiles { sector: sector(), comm_r: bytes32(2) }];
    AttachRequest { store: store(), place: place(), sectors }
}

fn attached() -> SectorState {
    SectorState::Proving {
        sealed: Attached { comm_r: bytes32(2), store: store(), place: place() }.into(),
        pre_commit: None,
        seed: None,
        prove_commit: None,
        activation: 300,
        expiration: 1_300_000,
        deadline: 5,
        partition: 0,
        finalized: true,
    }
}

fn states() -> Vec<SectorState> {
    let (at, comm_d, ticket) = (placement(), bytes32(1), drawn(90));
    let (sealed, message, seed) = (sealed(), message_ref(), drawn(290));
    let pre_commit = PreCommit { message: Some(message.clone()), epoch: 140 };
    let proof = ProofBytes(vec![7; 192]);
    let unpersisted = Sealed { persisted: None, ..sealed.clone() };
    let pc2_done = SectorState::Pc2Done { sealed: unpersisted.clone() };
    vec![
        SectorState::Allocated {},
        SectorState::Placed { at: at.clone() },
        SectorState::PiecesAdded { at: at.clone() },
        SectorState::TreeDDone { at: at.clone(), comm_d },
        SectorState::Ticketed { at: at.clone(), comm_d, ticket },
        SectorState::Pc1Done { at, comm_d, ticket },
        pc2_done.clone(),
        SectorState::PreCommitSent { sealed: sealed.clone(), message: message.clone() },
        SectorState::PreCommitted { sealed: sealed.clone(), pre_commit: pre_commit.clone() },
        SectorState::SeedReady { sealed: sealed.clone(), pre_commit: pre_commit.clone(), seed },
        SectorState::C1Done { sealed: sealed.clone(), pre_commit: pre_commit.clone(), seed, c1: artifact() },
        SectorState::C2Done { sealed: sealed.clone(), pre_commit: pre_commit.clone(), seed, proof: proof.clone() },
        SectorState::ProveCommitSent {
            sealed: sealed.clone(),
            pre_commit: pre_commit.clone(),
            seed,
            proof,
            message: message.clone(),
        },
        SectorState::Proving {
            sealed: sealed.into(),
            pre_commit: Some(pre_commit.clone()),
            seed: Some(seed),
            prove_commit: Some(message),
            activation: 300,
            expiration: 1_300_000,
            deadline: 5,
            partition: 0,
            finalized: true,
        },
        SectorState::Resealing {
            files: Box::new(SectorState::Allocated {}),
            chain: Box::new(SectorState::PreCommitted { sealed: unpersisted, pre_commit: pre_commit.clone() }),
        },
        SectorState::PreCommitExpired {
            pre_commit,
            due: 86_690,
            successor: Succession::Named { by: SectorId { miner: miner(), number: number(18) } },
        },
        SectorState::Parked {
            was: Box::new(pc2_done),
            reason: ParkReason { code: 3, text: "pc2 failed 5 times".to_owned() },
        },
        SectorState::Aborted { reason: "given up by a person".to_owned() },
    ]
}

fn sector_record(state: SectorState) -> SectorRecord {
    SectorRecord {
        id: sector(),
        incarnation: Incarnation::FIRST,
        proof: SealProof::Drg2KiBV1_1,
        pieces: vec![piece()],
        submitted_at: Timestamp(1_790_000_000_000),
        state,
        entered_at: Timestamp(1_790_000_100_000),
        seq: 4,
        what: "pc1 done by host1-gpu in 39.0 s".to_owned(),
        generations_lost: 1,
        errors: vec![StageError {
            at: Timestamp(1_790_000_050_000),
            stage: Stage::Pc2,
            attempt: 1,
            agent: agent(),
            code: "crashed".to_owned(),
            message: "run pc2: the prover was killed by signal 9".to_owned(),
            until: Some(Timestamp(1_790_000_600_000)),
            elsewhere: true,
        }],
        story: vec![StageRun {
            stage: Stage::Pc1,
            queued_at: Timestamp(1_790_000_000_000),
            started_at: Timestamp(1_790_000_001_000),
            ended_at: Timestamp(1_790_000_040_000),
            agent: agent(),
            attempt: 1,
        }],
        messages: vec![MessageNote {
            method: "PreCommitSectorBatch2".to_owned(),
            message: message_ref(),
            cid: Some("bafy2bzaceb".to_owned()),
            sent_at: Timestamp(1_790_000_060_000),
            landed_at: Some(Timestamp(1_790_000_090_000)),
            height: Some(140),
            exit_code: Some(0),
            gas_used: Some(12_345),
        }],
    }
}
