//! The queue is lost in the middle of everything, and comes back from stores and chain.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use streams::{
    control::{InfoRequest, SubmitRequest},
    id::{Incarnation, MinerId, SectorId, SectorNumber},
    sector::{MessageRef, SectorRecord},
    stage::Stage,
    testing::wait_for,
    whole::progress,
};

use super::{
    agent::Agent,
    stores::Stores,
    world::{LIMIT, World},
};

pub(super) async fn submit(world: &World, miner: MinerId, count: u64) -> Vec<SectorId> {
    world.ask(&SubmitRequest { miner, count, pieces: Vec::new() }).await.sectors
}

pub(super) async fn agent(world: &World, stores: &Stores) -> Agent {
    Agent::with_stores(&world.nats, Arc::default(), Vec::new(), stores.clone()).await
}

/// Every message these records name.
pub(super) fn messages(records: &[SectorRecord]) -> BTreeSet<MessageRef> {
    records.iter().flat_map(|record| record.messages.iter().map(|note| note.message.clone())).collect()
}

pub(super) async fn records(world: &World, sectors: &[SectorId]) -> Vec<SectorRecord> {
    let mut records = Vec::new();
    for sector in sectors {
        records.push(world.record(*sector).await);
    }
    records
}

/// Six sectors, each held before another stage, and what they are when all stand still.
async fn standing_still(world: &World, stores: &Stores, miner: MinerId) -> Vec<SectorId> {
    for (number, stage) in
        [(2, Stage::Persist), (3, Stage::C1), (4, Stage::Pc2), (5, Stage::TreeD), (6, Stage::Place)]
    {
        stores.brake(number, stage);
    }
    let sectors = submit(world, miner, 6).await;
    assert_eq!(sectors.iter().map(|id| id.number.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    world.until_done(sectors[0]).await;
    for (index, state) in [(1, "c2-done"), (2, "seed-ready"), (3, "pc1-done"), (4, "pieces-added"), (5, "allocated")] {
        world.until(sectors[index], &[state]).await;
    }
    sectors
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_total_wipe_every_sector_that_was_placed_reaches_proving() {
    let mut world = World::new().await;
    let stores = Stores::default();
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let worker = agent(&world, &stores).await;
    let sectors = standing_still(&world, &stores, miner).await;
    // The one without a place is known to the queue alone.
    let (placed, lost) = (&sectors[..5], sectors[5]);
    let before = messages(&records(&world, placed).await).len();
    let landed = world.landed().await;
    assert_eq!(landed, before as u64 + 1, "the miner's creation, and what the records name");
    coordinator.stop().await;
    drop(worker);
    world.server.wipe().await;
    world.nats = world.server.connect().await;

    let refused = world.build(world.config()).await.err().expect("a wiped queue is not led");
    assert!(refused.render().contains("wiped") && refused.render().contains("coordinator rebuild"), "{}", refused.render());
    assert_eq!(progress(&world.nats, "KV_SECTORS").await.unwrap(), None, "no empty layout was made");

    let worker = agent(&world, &stores).await;
    let report = world.rebuild(&[]).await.unwrap();
    assert_eq!((report.incarnation, report.held, report.parked.len()), (Incarnation(2), 5, 0), "{report:#?}");
    stores.release();
    let coordinator = world.run().await;
    for sector in placed {
        let record = world.until_done(*sector).await;
        assert_eq!(record.incarnation, Incarnation(2));
    }
    let fresh = submit(&world, miner, 1).await[0];
    assert!(fresh.number.0 > lost.number.0 + 1_000, "{fresh}");
    world.until_done(fresh).await;
    assert_eq!(world.record(fresh).await.incarnation, Incarnation(2));
    // Each nonce since then is a message that a record names: none was sent for nothing, and none twice.
    let all: Vec<SectorId> = placed.iter().copied().chain([fresh]).collect();
    let since = messages(&records(&world, &all).await).len() as u64;
    wait_for(LIMIT, || async {
        let now = world.landed().await;
        if now == landed + since { Ok(()) } else { Err(format!("{now} messages landed, {landed} + {since} are known")) }
    })
    .await;
    coordinator.stop().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_coordinator_stops_leading_and_goes_on_after_the_rebuild() {
    let mut world = World::new().await;
    let stores = Stores::default();
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let worker = agent(&world, &stores).await;
    stores.brake(1, Stage::Pc2);
    let sector = submit(&world, miner, 1).await[0];
    world.until(sector, &["pc1-done"]).await;
    drop(worker);
    world.server.wipe().await;

    wait_for(LIMIT, || async {
        match world.nats.ask(&InfoRequest {}, Duration::from_secs(1)).await {
            Err(streams::call::AskError::NobodyAnswers { .. }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(progress(&world.nats, "KV_SECTORS").await.unwrap(), None, "no empty layout was made");
    let worker = agent_after_layout(&world, &stores);
    let (report, worker) = tokio::join!(world.rebuild(&[]), worker);
    assert_eq!(report.unwrap().incarnation, Incarnation(2));
    stores.release();
    // The same process goes on by itself.
    world.until_done(sector).await;
    assert!(submit(&world, miner, 1).await[0].number > SectorNumber(1_000));
    coordinator.stop().await;
    drop(worker);
}

/// The pretended agent's pulls need their consumers: it starts once the rebuild has made the layout.
async fn agent_after_layout(world: &World, stores: &Stores) -> Agent {
    wait_for(LIMIT, || async {
        match progress(&world.nats, "OBJ_ARTIFACTS").await {
            Ok(Some(_)) if progress(&world.nats, "KV_CLUSTER").await.is_ok_and(|found| found.is_some()) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    agent(world, stores).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_cut_off_keeps_everybody_out_and_comes_to_the_same_end() {
    let mut world = World::new().await;
    let stores = Stores::default();
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let worker = agent(&world, &stores).await;
    let sectors = standing_still(&world, &stores, miner).await;
    coordinator.stop().await;
    drop(worker);
    world.server.wipe().await;
    world.nats = world.server.connect().await;
    let worker = agent(&world, &stores).await;

    let mut was_begun = false;
    for cut_after in [20, 60, 100, 140, 180, 240, 300, 400] {
        let cut = tokio::time::timeout(Duration::from_millis(cut_after), world.rebuild(&[])).await;
        // The lease of the one that was cut off ends by itself: nobody would wait for that here.
        super::world::free_lease(&world.nats).await;
        if cut.is_ok() {
            break;
        }
        let found = crate::incarnation::look(&world.nats).await.unwrap();
        was_begun |= found.next.is_some();
        let refused = world.build(world.config()).await.err().expect("nobody leads a queue that is half rebuilt");
        assert_eq!(refused.exit, host::exit::Exit::Refused, "{}", refused.render());
    }
    let report = world.rebuild(&[]).await.unwrap();
    assert!(was_begun || report.kept > 0, "none was cut off in the middle: {report:#?}");
    stores.release();
    let coordinator = world.run().await;
    for sector in &sectors[..5] {
        world.until_done(*sector).await;
    }
    coordinator.stop().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_stops_it_until_a_person_goes_on_without() {
    let mut world = World::new().await;
    let stores = Stores::default();
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let worker = agent(&world, &stores).await;
    stores.brake(1, Stage::Pc2);
    let sector = submit(&world, miner, 1).await[0];
    world.until(sector, &["pc1-done"]).await;
    // The folder has to have heard of it, as it does within a minute.
    wait_for(LIMIT, || async {
        let text = std::fs::read_to_string(world.data().join("memory.json")).unwrap();
        if text.contains("pretender") { Ok(()) } else { Err(text) }
    })
    .await;
    let refused = world.rebuild(&[]).await.unwrap_err();
    assert_eq!(refused.exit, host::exit::Exit::Busy, "another leads: {}", refused.render());
    coordinator.stop().await;
    drop(worker);
    world.server.wipe().await;
    world.nats = world.server.connect().await;
    let refused = world.rebuild(&[]).await.unwrap_err();
    assert!(refused.render().contains("--without pretender"), "{}", refused.render());
    let refused = world.rebuild(&["pretender"]).await.unwrap_err();
    assert!(refused.render().contains("no agent announced itself"), "{}", refused.render());
}
