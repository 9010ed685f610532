//! The first coordinator of a queue dies while it begins the queue's first life.

use streams::id::{Incarnation, SectorNumber};

use crate::world::World;

async fn a_coordinator_dies_at(failpoint: &str) {
    let world = World::new().await;
    world.cluster.spawn_to_die("coordinator", &["run"], failpoint).has_died().await;
    let _coordinator = world.cluster.coordinator().await;
    let sectors = world.submit(2);
    assert_eq!(sectors.iter().map(|id| id.number).collect::<Vec<_>>(), [SectorNumber(1), SectorNumber(2)]);
    for record in world.records().await {
        assert_eq!((record.incarnation, record.state.name()), (Incarnation::FIRST, "allocated"), "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_was_begun_is_taken_up_by_the_next() {
    for failpoint in ["coordinator.incarnation.begun", "coordinator.incarnation.remembered"] {
        a_coordinator_dies_at(failpoint).await;
    }
}
