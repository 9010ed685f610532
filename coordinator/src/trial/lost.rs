//! What is lost, and what must not be: leaders, hosts, events, numbers; and what nobody can read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use streams::{
    control::{InfoRequest, StoreFoundRequest, StoreLostRequest, SubmitRequest},
    id::{Incarnation, SectorId, SectorNumber, StoreId, Timestamp},
    kv::{Bucket, BucketName},
    message::FailureClass,
    report,
    sector::{MessageRef, PreCommit, SectorRecord, SectorState, Succession},
    stage::Stage,
    testing::wait_for,
};

use super::{
    agent::{Agent, Fault, Faults},
    world::{LIMIT, World},
};
use crate::sector::tests::sample;

/// What a standby may take.
const FAILOVER_MAX: Duration = Duration::from_secs(10);

fn faults(stage: Stage, class: FailureClass) -> Faults {
    Arc::new(Mutex::new(BTreeMap::from([(stage, vec![Fault::Fail(class)])])))
}

async fn submit(world: &World) -> SectorId {
    let miner = world.miner().await;
    world.ask(&SubmitRequest { miner, count: 1, pieces: Vec::new() }).await.sectors[0]
}

async fn purge(world: &World, stream: &str) {
    world.nats.jetstream().get_stream(stream).await.unwrap().purge().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_leads_and_dispatches_within_ten_seconds_of_the_leaders_death() {
    let world = World::new().await;
    let leader = world.run_apart("leader").await;
    let sector = submit(&world).await;
    let standby = world.run_apart("standby").await;
    let queued = || async { report::task_pointers(&world.nats).await.map_err(|e| e.to_string()) };
    wait_for(LIMIT, || async { if queued().await?.is_empty() { Err("not queued".to_owned()) } else { Ok(()) } }).await;
    // The pointer is lost with the leader, so that only a new one's reconciler can have put it there.
    leader.kill();
    let died = Instant::now();
    purge(&world, "TASKS").await;
    let pointers = wait_for(LIMIT, || async {
        let pointers = queued().await?;
        if pointers.is_empty() { Err("nothing was dispatched".to_owned()) } else { Ok(pointers) }
    })
    .await;
    let took = died.elapsed();
    assert_eq!(pointers[0].sector, sector);
    assert!(took <= FAILOVER_MAX, "the standby dispatched after {took:?}");
    standby.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_passes_and_costs_no_attempt() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let soon = crate::view::now().0 + 2_000;
    let _agent =
        Agent::start(&world.nats, faults(Stage::TreeD, FailureClass::WaitUntil(Timestamp(soon))), Vec::new()).await;
    let sector = submit(&world).await;
    // Any state from tree-d on: what follows may be over between two looks.
    let beyond = ["tree-d-done", "ticketed", "pc1-done", "pc2-done", "pre-commit-sent", "pre-committed", "seed-ready"];
    let record = world.until(sector, &beyond).await;
    let run = record.story.iter().find(|run| run.stage == Stage::TreeD).unwrap();
    assert!(crate::view::now().0 >= soon, "not before its time");
    assert!(record.errors.is_empty(), "{:?}, {run:?}", record.errors);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_sends_its_sectors_elsewhere_and_takes_no_new_ones() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let store = StoreId(uuid::Uuid::from_u128(1));
    let far = Timestamp(crate::view::now().0 + 3_600_000);
    let _agent = Agent::start(&world.nats, faults(Stage::Pc2, FailureClass::WaitUntil(far)), Vec::new()).await;
    let sector = submit(&world).await;
    world.until(sector, &["pc1-done"]).await;
    assert!(world.ask(&StoreLostRequest { store, because: "the host burnt".to_owned() }).await.changed);
    assert!(!world.ask(&StoreLostRequest { store, because: "again".to_owned() }).await.changed);
    let record = world.until(sector, &["allocated"]).await;
    assert_eq!(record.generations_lost, 1);
    // The only agent offers the same store: that waits, and spends no attempt.
    let waits = wait_for(LIMIT, || async {
        let record = world.record(sector).await;
        match record.errors.first() {
            Some(error) => Ok(error.clone()),
            None => Err(format!("{record:#?}")),
        }
    })
    .await;
    assert_eq!((waits.stage, waits.code.as_str()), (Stage::Place, "lost-store"));
    assert!(waits.until.is_some());
    assert!(world.ask(&StoreFoundRequest { store }).await.changed);
    let record = world.until_done(sector).await;
    assert_eq!(record.state.placement().map(|at| at.generation), Some(2));
    coordinator.stop().await;
}

fn expired(id: SectorId, successor: Succession) -> SectorRecord {
    let pre_commit = PreCommit { message: Some(MessageRef { sender: "f1x".to_owned(), nonce: 1 }), epoch: 10 };
    let mut record = sample::record(SectorState::PreCommitExpired { pre_commit, due: 20, successor });
    record.id = id;
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_expired_sectors_are_submitted_once_wherever_a_crash_was() {
    let world = World::new().await;
    let (first, second) = (world.run_apart("first").await, world.run_apart("second").await);
    let miner = world.miner().await;
    let sector = |number| SectorId { miner, number: SectorNumber(number) };
    let sectors: Bucket<SectorRecord> = Bucket::open(&world.nats, BucketName::Sectors).await.unwrap();
    let named = sector(177);
    let wanted = expired(sector(101), Succession::Wanted {});
    let records = [
        wanted.clone(),
        expired(sector(102), Succession::Named { by: named }),
        expired(sector(103), Succession::Begun { by: named }),
    ];
    for record in &records {
        sectors.create(&record.id.key(), record).await.unwrap();
    }
    for record in &records {
        wait_for(LIMIT, || async {
            let now = world.record(record.id).await;
            match &now.state {
                SectorState::PreCommitExpired { successor: Succession::Begun { by }, .. } => Ok(*by),
                state => Err(format!("{state:?}")),
            }
        })
        .await;
    }
    let all: Vec<SectorRecord> = sectors.entries(">").await.unwrap().into_iter().map(|entry| entry.value).collect();
    let new: Vec<&SectorRecord> = all.iter().filter(|record| record.state.name() == "allocated").collect();
    assert_eq!(new.len(), 2, "{new:#?}");
    assert!(new.iter().all(|record| record.pieces == wanted.pieces && record.incarnation == Incarnation::FIRST));
    assert!(new.iter().any(|record| record.id == named), "the number that was recorded counts");
    first.kill();
    second.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_read_is_kept_and_hinders_nobody() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let sector = submit(&world).await;
    let nats = &world.nats;
    let publish = |subject: &'static str| async move {
        nats.jetstream().publish(subject, "{\"not\": ".into()).await.unwrap().await.unwrap()
    };
    let garbled = publish("res.a.f01000.9").await.sequence;
    publish("$KV.SECTORS.f01000.900").await;
    let kept = world.home.path().join(format!("coordinator/aside/{garbled}.res.a.f01000.9"));
    wait_for(LIMIT, || async { if kept.exists() { Ok(()) } else { Err(format!("no {}", kept.display())) } }).await;
    assert_eq!(std::fs::read(&kept).unwrap(), b"{\"not\": ");
    let http = world.ask(&InfoRequest {}).await.http;
    wait_for(LIMIT, || async {
        let answer = reqwest::get(format!("{http}/metrics")).await.map_err(|e| e.to_string())?;
        let text = answer.text().await.map_err(|e| e.to_string())?;
        let has = |line: &str| text.lines().any(|found| found == line);
        if has("seal_unreadable_records 1") && has("seal_orphan_sectors 1") { Ok(()) } else { Err(text) }
    })
    .await;
    let _agent = Agent::start(&world.nats, Arc::default(), Vec::new()).await;
    world.until_done(sector).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_lost_is_written_again() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let sector = submit(&world).await;
    let event = || async { report::last_event(&world.nats, sector).await.map_err(|e| e.to_string()) };
    let first = wait_for(LIMIT, || async { event().await?.ok_or_else(|| "no event".to_owned()) }).await;
    coordinator.stop().await;
    purge(&world, "EVENTS").await;
    assert_eq!(event().await.unwrap(), None);
    let coordinator = world.run().await;
    let again = wait_for(LIMIT, || async { event().await?.ok_or_else(|| "no event".to_owned()) }).await;
    assert_eq!((again.seq, again.state, again.what), (first.seq, first.state, first.what));
    coordinator.stop().await;
}
