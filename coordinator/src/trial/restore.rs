//! An older state of the queue is brought back: what was done since comes from stores and chain.

use streams::{
    id::{Incarnation, SectorId},
    stage::Stage,
};

use super::{
    rebuild::{agent, agent_of_wiped, count, messages, records, submit},
    stores::Stores,
    world::World,
};
use crate::{backup, cli, command};

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_an_older_state_loses_nothing_that_was_placed_since() {
    let mut world = World::new().await;
    let stores = Stores::default();
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let worker = agent(&world, &stores).await;
    stores.brake(2, Stage::C1);
    stores.brake(3, Stage::Pc2);
    let old = submit(&world, miner, 3).await;
    world.until(old[2], &["pc1-done"]).await;
    world.until(old[1], &["seed-ready", "pre-committed"]).await;
    let config = world.config();
    command::backup::now(&config, &world.data(), host::output::Format::Name).await.unwrap();
    let backups = backup::list(&backup::folder(&config.backup, &world.data())).unwrap();
    let (folder, taken) = backups.last().unwrap();
    assert_eq!(taken.life.incarnation, Incarnation::FIRST);

    // An hour passes: new sectors, messages sent.
    world.until_done(old[0]).await;
    stores.brake(5, Stage::C2);
    let new = submit(&world, miner, 2).await;
    world.until_done(new[0]).await;
    world.until(new[1], &["c1-done"]).await;
    let all: Vec<SectorId> = old.iter().chain(&new).copied().collect();
    let landed = world.landed().await;
    let noted = messages(&records(&world, &all).await);
    assert_eq!(landed, count(noted.len()) + 1);
    coordinator.stop().await;
    drop(worker);
    world.server.wipe().await;
    world.nats = world.server.connect().await;

    let worker = agent_of_wiped(&world, &stores).await;
    let args = cli::Restore { dir: folder.clone(), replace: false, patience: World::patience(&[]) };
    let report = command::rebuild::restore(&config, &world.data(), &args).await.unwrap();
    assert_eq!((report.incarnation, report.parked.len()), (Incarnation(2), 0), "{report:#?}");
    let refused = command::rebuild::restore(&config, &world.data(), &args).await.unwrap_err();
    assert!(refused.render().contains("--replace"), "{}", refused.render());

    stores.release();
    let coordinator = world.run().await;
    for sector in &all {
        world.until_done(*sector).await;
    }
    assert!(!world.record(old[2]).await.story.is_empty(), "what the backup knew is kept");
    let fresh = submit(&world, miner, 1).await[0];
    assert!(fresh.number.0 > 1_000, "{fresh}");
    world.until_done(fresh).await;
    // Nonces since then, and those before, are all different messages.
    let all: Vec<SectorId> = all.into_iter().chain([fresh]).collect();
    let mut every = messages(&records(&world, &all).await);
    every.extend(noted);
    assert_eq!(world.landed().await, count(every.len()) + 1);
    coordinator.stop().await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_before_anything_is_touched() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let sector = submit(&world, miner, 1).await[0];
    let config = world.config();
    command::backup::now(&config, &world.data(), host::output::Format::Name).await.unwrap();
    coordinator.stop().await;
    let (folder, _) = backup::list(&backup::folder(&config.backup, &world.data())).unwrap().pop().unwrap();
    let file = folder.join("KV_SECTORS.snapshot");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    host::durable::write(&file, &bytes).unwrap();
    let args = cli::Restore { dir: folder, replace: true, patience: World::patience(&[]) };
    let refused = command::rebuild::restore(&config, &world.data(), &args).await.unwrap_err();
    assert_eq!(refused.exit, host::exit::Exit::Data, "{}", refused.render());
    assert_eq!(world.record(sector).await.id, sector);
    world.run().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_taken_by_themselves_and_only_so_many_are_kept() {
    let world = World::new().await;
    let mut config = world.config();
    config.backup.every = std::time::Duration::from_millis(200);
    config.backup.keep = 2;
    let coordinator = world.run_with(config.clone()).await;
    let folder = backup::folder(&config.backup, &world.data());
    let first = streams::testing::wait_for(super::world::LIMIT, || async {
        backup::list(&folder).unwrap().first().map(|(path, _)| path.clone()).ok_or_else(|| "none".to_owned())
    })
    .await;
    streams::testing::wait_for(super::world::LIMIT, || async {
        let all = backup::list(&folder).unwrap();
        if all.len() == 2 && all[0].0 != first { Ok(()) } else { Err(format!("{} backups", all.len())) }
    })
    .await;
    coordinator.stop().await;
}
