//! One line for each reason: what is known, and what a person is told.

use streams::{
    duty::Duty,
    id::Timestamp,
    proof::ProofBytes,
    records::{AgentRecord, ChainHead, ClassSlots, Fate, JobNow, JobSubject, OutboxEntry, StoreRecord, StoreState},
    sector::{Sealed, SectorRecord, SectorState as S, StageError, Succession},
    stage::{Class, Stage},
    subject::TaskSubject,
};

use super::{Facts, why};
use crate::{
    config::{BatchKeys, BatchSection},
    sector::{tests::sample::*, wants::pointer},
};

/// Everything but the record, owned.
struct World {
    queued: Vec<TaskSubject>,
    unsettled: bool,
    agents: Vec<AgentRecord>,
    stores: Vec<StoreRecord>,
    outbox: Option<OutboxEntry>,
    batch: BatchSection,
}

impl World {
    /// The pointers of the record are in the queue, and nobody is alive.
    fn of(record: &SectorRecord) -> Self {
        let queued =
            Stage::ALL.iter().filter_map(|stage| pointer(record, *stage)).map(|(subject, _)| subject).collect();
        let batch = BatchSection::default();
        Self { queued, unsettled: false, agents: Vec::new(), stores: Vec::new(), outbox: None, batch }
    }

    fn tell(&self, record: &SectorRecord) -> Vec<(&'static str, String)> {
        let head =
            ChainHead { epoch: 128, tipset: Vec::new(), block_delay_secs: 30, network: "mainnet".to_owned(), at: NOW };
        let policy = chain::policy::NetworkPolicy::mainnet();
        let facts = Facts {
            record,
            queued: &self.queued,
            unsettled: self.unsettled,
            agents: &self.agents,
            stores: &self.stores,
            head: Some(&head),
            outbox: self.outbox.as_ref(),
            batch: &self.batch,
            policy: Some(&policy),
            now: NOW,
        };
        why(&facts).into_iter().map(|why| (why.code, format!("{}: {}", why.what, why.words))).collect()
    }
}

fn an_agent(class: Class, used: u32, jobs: Vec<JobNow>) -> AgentRecord {
    AgentRecord {
        agent: agent(),
        place: place(),
        host: "host-1".to_owned(),
        pid: 1,
        run: uuid::Uuid::nil(),
        version: "0".to_owned(),
        started_at: NOW,
        at: NOW,
        classes: vec![ClassSlots { class, slots: 2, used }],
        jobs,
        duty: Duty::Serving,
    }
}

fn pc1_done() -> SectorRecord {
    record(S::Pc1Done { at: at(), comm_d: bytes(1), ticket: ticket() })
}

fn error(stage: Stage, until: Option<Timestamp>, elsewhere: bool) -> StageError {
    let message = "no room".to_owned();
    StageError {
        at: Timestamp(1),
        stage,
        attempt: 1,
        agent: agent(),
        code: "no-space".to_owned(),
        message,
        until,
        elsewhere,
    }
}

#[track_caller]
fn told(world: &World, record: &SectorRecord, code: &str, words: &str) {
    let told = world.tell(record);
    let told: Vec<(&str, &str)> = told.iter().map(|(code, words)| (*code, words.as_str())).collect();
    assert_eq!(told, [(code, words)]);
}

#[test]
fn why_a_task_does_not_run() {
    let sector = pc1_done();
    let mut world = World::of(&sector);
    told(&world, &sector, "no-agent", "pc2: waits for an agent of class pc2-gpu at place host-1; its files are there");
    world.stores = vec![StoreRecord {
        store: store(1),
        place: place(),
        path: "/s".to_owned(),
        persistent: false,
        bytes_total: 1,
        bytes_free: 1,
        bytes_reserved: 0,
        sectors: 1,
        at: Timestamp(1_790_000_000_000),
        state: StoreState::Ok,
        why: String::new(),
    }];
    let silent = "pc2: waits for an agent of class pc2-gpu at place host-1, silent since 2026-09-21 14:13:20 UTC; its files are there";
    told(&world, &sector, "no-agent", silent);
    world.agents = vec![an_agent(Class::Pc1Cpu, 0, Vec::new())];
    told(&world, &sector, "no-agent", silent);
    world.agents = vec![an_agent(Class::Pc2Gpu, 2, Vec::new())];
    told(&world, &sector, "slots-busy", "pc2: all 2 slots of class pc2-gpu at place host-1 are busy");
    world.agents = vec![an_agent(Class::Pc2Gpu, 1, Vec::new())];
    told(&world, &sector, "queued", "pc2: queued; a slot of class pc2-gpu at place host-1 is free");
    let held = |duty| vec![AgentRecord { duty, ..an_agent(Class::Pc2Gpu, 0, Vec::new()) }];
    world.agents = held(Duty::Cordoned);
    told(&world, &sector, "queued", "pc2: queued; a slot of class pc2-gpu at place host-1 is free");
    world.agents = held(Duty::Paused);
    let words = "pc2: every agent of class pc2-gpu at place host-1 was told to take no such work: agent-1 (paused); \
                 `coordinator agents resume` ends that";
    told(&world, &sector, "agents-held", words);
    let job = JobNow {
        what: JobSubject::Sector { sector: sector.id, stage: Stage::Pc2 },
        attempt: 2,
        started_at: Timestamp(NOW.0 - 65_000),
        phase: "trees".to_owned(),
        permille: None,
        bytes: None,
        bytes_per_s: None,
        left_ms: None,
    };
    world.agents = vec![an_agent(Class::Pc2Gpu, 1, vec![job])];
    told(&world, &sector, "running", "pc2: attempt 2 runs on agent-1 for 1m 5s");
    world.agents.clear();
    world.queued.clear();
    told(
        &world,
        &sector,
        "not-queued",
        "pc2: its task is not in the queue: the next pass of the reconciler puts it there",
    );
    world.unsettled = true;
    told(&world, &sector, "result-waits", "pc2: its result is stored and being judged");
}

#[test]
fn a_free_task_needs_any_agent_that_did_not_ask_for_another() {
    let mut sector = record(S::C1Done { sealed: sealed(), pre_commit: pre_commit(), seed: seed(), c1: artifact() });
    let mut world = World::of(&sector);
    told(&world, &sector, "no-agent", "c2: no agent of class c2-gpu is alive");
    sector.errors.push(error(Stage::C2, None, true));
    world.agents = vec![an_agent(Class::C2Gpu, 0, Vec::new())];
    let words = "c2: the only agent of class c2-gpu failed at it and asked for another to try";
    told(&world, &sector, "left-to-others", words);
}

#[test]
fn a_time_in_the_record_comes_with_its_cause() {
    let mut sector = pc1_done();
    sector.errors.push(error(Stage::Pc2, Some(Timestamp(NOW.0 + 60_000)), false));
    told(&World::of(&sector), &sector, "not-before", "pc2: not before 2026-09-21 14:14:20 UTC: no room");
}

#[test]
fn why_the_chain_is_waited_for() {
    let pc2_done = record(S::Pc2Done { sealed: sealed() });
    let mut world = World::of(&pc2_done);
    told(&world, &pc2_done, "waits-for-batch", "pre-commit: its message is being made");
    let keys = BatchKeys { threshold: 16, max_wait: std::time::Duration::from_secs(60) };
    world.batch = BatchSection { pre_commit: keys, ..BatchSection::default() };
    let words = "pre-commit: waits for its batch until 2026-09-21 14:14:19 UTC, or until 16 sectors wait";
    told(&world, &pc2_done, "waits-for-batch", words);
    let pre_committed = record(S::PreCommitted { sealed: sealed(), pre_commit: pre_commit() });
    let words = "seed: waits for the seed, drawn at epoch 276, the head is at 128";
    told(&world, &pre_committed, "waits-for-seed", words);
}

#[test]
fn how_far_its_message_is() {
    let sent = record(S::PreCommitSent { sealed: sealed(), message: message(7) });
    let mut world = World::of(&sent);
    let landed = |settled| Fate::Landed {
        cid: "b".to_owned(),
        height: 125,
        exit_code: 0,
        return_value: ProofBytes(Vec::new()),
        gas_used: 1,
        at: NOW,
        settled,
    };
    for (fate, words) in [
        (None, "not signed yet"),
        (Some(Fate::Journaled {}), "signed, and not taken by a node yet"),
        (Some(Fate::Pushed { at: NOW }), "pushed at 2026-09-21 14:13:20 UTC, not on chain yet"),
        (Some(landed(false)), "landed at epoch 125, 3 confirmations"),
        (Some(landed(true)), "settled, landed at epoch 125"),
        (Some(Fate::Displaced { at: NOW }), "another message took its nonce"),
    ] {
        world.outbox = fate.map(|fate| OutboxEntry {
            message: message(7),
            method: "PreCommitSectorBatch2".to_owned(),
            miner: sent.id.miner,
            sectors: vec![sent.id.number],
            signed: Vec::new(),
            created_at: NOW,
            fate,
        });
        told(&world, &sent, "waits-for-message", &format!("message 7: waits for message nonce 7: {words}"));
    }
}

#[test]
fn one_that_waits_for_nobody_says_so() {
    let parked = record(parked(S::Allocated {}));
    let words = "parked: reason 1002: look; go on with `coordinator sectors retry f01000/1`";
    told(&World::of(&parked), &parked, "parked", words);
    let done = record(proving(true));
    told(&World::of(&done), &done, "at-end", "proving: nothing more is to be done: it is proving");
    let expired =
        S::PreCommitExpired { pre_commit: pre_commit(), due: 9, successor: Succession::Named { by: successor() } };
    let expired = record(expired);
    let words = "successor: its pre-commit expired: sector f01000/2 takes its pieces over";
    told(&World::of(&expired), &expired, "succession", words);
}

#[test]
fn each_thing_it_waits_for_has_its_own_reason() {
    let unpersisted = Sealed { persisted: None, ..sealed() };
    let sector = record(S::PreCommitted { sealed: unpersisted, pre_commit: pre_commit() });
    let codes: Vec<&str> = World::of(&sector).tell(&sector).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["waits-for-seed", "no-agent"]);
}

#[test]
fn every_state_has_a_reason() {
    for state in states() {
        let sector = record(state);
        assert!(!World::of(&sector).tell(&sector).is_empty(), "{}", sector.state.name());
    }
}
