//! A poster dies while it forgets proofs that nobody can dispute any more.

use streams::{
    id::Timestamp,
    kv::{Bucket, BucketName},
    proof::{Bytes32, ProofBytes},
    records::PostRecord,
    testing::wait_for,
};

use crate::{cluster::LIMIT, folder::MINER, world::World};

/// Epochs after which a window of the first ones is long closed.
const LONG: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn old_proofs_are_forgotten_though_it_died_over_the_first() {
    let world = World::new().await;
    let _coordinator = world.cluster.coordinator().await;
    world.pass(LONG);
    let posts: Bucket<PostRecord> = Bucket::open(&world.nats().await, BucketName::Posts).await.unwrap();
    for open in [10, 20] {
        let record = PostRecord {
            miner: MINER,
            deadline: 1,
            open,
            close: open + 10,
            partition: 0,
            randomness: Bytes32([1; 32]),
            proven: Vec::new(),
            skipped: Vec::new(),
            proof: ProofBytes(vec![1]),
            proved_at: Timestamp(1),
            message: None,
            landed_at: Some(open + 1),
        };
        posts.create(&format!("{MINER}.{open}.0"), &record).await.unwrap();
    }
    world
        .cluster
        .spawn_to_die("poster", &["run"], "poster.posts.forgotten")
        .has_died_while(async || world.pass(1))
        .await;
    assert_eq!(posts.keys(">").await.unwrap().len(), 1, "it died over the first");
    let _poster = world.cluster.spawn("poster", &["run"]);
    wait_for(LIMIT, || async {
        world.pass(1);
        let left = posts.keys(">").await.unwrap();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}
