//! A coordinator dies while it submits the pieces of an expired sector anew.

use chain::policy::NetworkPolicy;
use streams::{
    sector::{SectorState, Succession},
    testing::wait_for,
};

use crate::{
    cluster::LIMIT,
    world::{World, is_pre_committed, is_sent},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_sector_gets_one_successor() {
    for failpoint in ["coordinator.succession.named", "coordinator.succession.created"] {
        let world = World::new().await;
        let dying = world.coordinator_to_die(failpoint).await;
        let _agent = world.agent("sealer", &["pc1-cpu", "pc2-gpu"]);
        let piece = world.root.path().join("piece.bin");
        host::durable::write(&piece, &[5; 700]).unwrap();
        let sector = world.submitted(&[&piece.display().to_string()])[0];
        world.pass_until(sector, is_pre_committed).await;
        // Nobody makes its proof in time.
        let policy = NetworkPolicy::devnet_fast();
        let too_late = policy.prove_commit_duration_max + policy.pre_commit_clean_up_delay + policy.finality;
        world.pass(too_late.try_into().unwrap());
        let late = world.agent("late", &["c2-gpu"]);
        dying.has_died_while(async || world.pass(1)).await;
        let named = world.records().await.iter().find_map(|record| match &record.state {
            SectorState::PreCommitExpired { successor: Succession::Named { by }, .. } => Some(*by),
            _ => None,
        });

        drop(late);
        let _coordinator = world.cluster.coordinator().await;
        let successor = wait_for(LIMIT, || async {
            let records = world.records().await;
            match &records[0].state {
                SectorState::PreCommitExpired { successor: Succession::Begun { by }, .. } => Ok(*by),
                state => Err(format!("{state:?}")),
            }
        })
        .await;
        assert_eq!(named, Some(successor), "{failpoint}: the number that was recorded counts");
        let records = world.records().await;
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        assert_eq!(ids, [sector, successor], "{failpoint}");
        assert_eq!(records[1].pieces, records[0].pieces, "{failpoint}");
        world.until(successor, is_sent).await;
    }
}
