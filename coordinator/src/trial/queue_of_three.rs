//! The road on three servers, one of which is killed on the way.

use streams::{id::SectorId, testing::TestCluster};

use super::{
    rebuild::{agent, submit},
    stores::Stores,
    world::World,
};
use crate::config::{NatsSection, QueueSection};

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_midway_costs_no_sector() {
    let mut cluster = TestCluster::start().await;
    let mut world = World::new().await;
    world.nats = cluster.connect().await;
    let mut config = world.config();
    config.nats = NatsSection { url: cluster.url(), ..NatsSection::default() };
    config.queue = QueueSection { replicas: 3, ..QueueSection::default() };
    let coordinator = world.run_with(config).await;
    let miner = world.miner().await;
    let stores = Stores::default();
    let worker = agent(&world, &stores).await;
    let sectors: Vec<SectorId> = submit(&world, miner, 4).await;
    world.until(sectors[0], &["pc2-done", "pre-commit-sent", "pre-committed", "seed-ready"]).await;
    let leader = cluster.leader_of(&world.nats, "KV_SECTORS").await;
    cluster.kill9(leader).await;
    for sector in &sectors {
        world.until_done(*sector).await;
    }
    cluster.restart(leader).await;
    cluster.until_whole(&world.nats, "KV_SECTORS").await;
    coordinator.stop().await;
    drop(worker);
}
