//! A coordinator dies over messages that do not go their usual way.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use devnet::upheaval::Filter;
use prover::{SealStatement, Verifier, VerifyError, WindowPostStatement, fake::FakeVerifier};
use streams::{
    control::{AbortRequest, RetryRequest},
    id::SectorId,
    kv::{Bucket, BucketName, Change},
    proof::SealProof,
    records::OutboxEntry,
    sector::{MessageRef, SectorRecord, SectorState},
};

use crate::{
    cluster::LIMIT,
    world::{World, is_pre_committed, is_sent},
};

/// The number of the reason in docs.
const PROVE_COMMIT_REFUSED: u16 = 2002;
const SEALS: [&str; 2] = ["pc1-cpu", "pc2-gpu"];

/// The message that carries a sector's pre-commit.
fn pre_commit(record: &SectorRecord) -> Option<MessageRef> {
    match &record.state {
        SectorState::PreCommitSent { message, .. } => Some(message.clone()),
        later => later.pre_commit()?.message.clone(),
    }
}

async fn outbox(world: &World) -> Vec<OutboxEntry> {
    let bucket: Bucket<OutboxEntry> = Bucket::open(&world.nats().await, BucketName::Messages).await.unwrap();
    bucket.entries(">").await.unwrap().into_iter().map(|entry| entry.value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sector_whose_message_was_displaced_gets_another() {
    let world = World::new().await;
    let dying = world.coordinator_to_die("coordinator.onchain.displacement-told").await;
    let _agent = world.agent("sealer", &SEALS);
    let sector = world.submit(1)[0];
    let sent = pre_commit(&world.until(sector, is_sent).await).unwrap();
    let stranger = world.stranger(sent.nonce);
    world.cluster.chain.with(|chain| chain.replace(stranger).unwrap().unwrap());
    dying.has_died_while(async || world.pass(1)).await;
    let _coordinator = world.cluster.coordinator().await;
    let record = world.pass_until(sector, is_pre_committed).await;
    let landed = pre_commit(&record).unwrap();
    assert!(landed.nonce > sent.nonce, "{landed:?} after {sent:?}");
    let carried = outbox(&world).await.into_iter().filter(|entry| entry.sectors.contains(&sector.number)).count();
    assert_eq!(carried, 2, "the one that was displaced, and the one that landed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_nothing_has_is_filled_once() {
    let world = World::new().await;
    let stranger = world.stranger(0);
    let from = Some(stranger.message.from);
    world.cluster.chain.with(|chain| chain.push(stranger).unwrap().unwrap());
    let dying = world.coordinator_to_die("chain.gap.priced").await;
    let _agent = world.agent("sealer", &SEALS);
    let sector = world.submit(1)[0];
    let sent = pre_commit(&world.until(sector, is_sent).await).unwrap();
    assert_eq!(sent.nonce, 1, "another message had the first nonce");
    world.cluster.chain.with(|chain| chain.drop_waiting(&Filter { from, nonce: Some(0) }).unwrap());
    dying.has_died_while(async || world.pass(1)).await;
    let _coordinator = world.cluster.coordinator().await;
    let record = world.pass_until(sector, is_pre_committed).await;
    assert_eq!(pre_commit(&record), Some(sent), "it waited, and landed");
    let mut sent: Vec<_> = outbox(&world).await.into_iter().map(|entry| (entry.message.nonce, entry.method)).collect();
    sent.sort_unstable();
    assert_eq!((sent.len(), sent[0].clone()), (2, (0, "fill nonce gap".to_owned())), "{sent:?}");
}

/// A chain that accepts no proof for a while.
struct Moody {
    refuses: Arc<AtomicBool>,
}

impl Verifier for Moody {
    fn seal(&self, statement: &SealStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        Ok(!self.refuses.load(Ordering::SeqCst) && FakeVerifier.seal(statement, proof_bytes)?)
    }

    fn aggregate(&self, statements: &[SealStatement], proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        FakeVerifier.aggregate(statements, proof_bytes)
    }

    fn window_post(&self, statement: &WindowPostStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        FakeVerifier.window_post(statement, proof_bytes)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sector_that_the_chain_refuses_stays_parked_until_a_person_says_so() {
    let refuses = Arc::new(AtomicBool::new(true));
    let world = World::with(SealProof::Drg2KiBV1_1, Arc::new(Moody { refuses: Arc::clone(&refuses) }), &[]).await;
    let dying = world.coordinator_to_die("coordinator.onchain.rejected").await;
    let _agent = world.agent("sealer", &["pc1-cpu", "pc2-gpu", "c2-gpu"]);
    let sector = world.submit(1)[0];
    dying.has_died_while(async || world.pass(1)).await;
    let coordinator = world.cluster.coordinator().await;
    let record = world.pass_until(sector, |record| record.state.name() == "parked").await;
    let SectorState::Parked { reason, .. } = &record.state else { panic!("{record:#?}") };
    assert_eq!(reason.code, PROVE_COMMIT_REFUSED, "{record:#?}");
    let messages = outbox(&world).await;
    assert_eq!(messages.len(), 1, "only its pre-commit was sent: {messages:?}");
    refuses.store(false, Ordering::SeqCst);
    world.nats().await.ask(&RetryRequest { sector, from: None }, LIMIT).await.unwrap();
    world.pass_until(sector, |record| record.state.name() == "proving").await;
    drop(coordinator);
}

/// Aborts the last of these sectors as soon as another of them joined a message; whether that was in time.
async fn abort_once_one_joined(world: &World, sectors: &[SectorId]) -> bool {
    let mut watch = world.sectors().await.watch(">").await.unwrap();
    loop {
        if let Change::Put(entry) = watch.next().await.unwrap()
            && sectors.contains(&entry.value.id)
            && pre_commit(&entry.value).is_some()
        {
            let request = AbortRequest { sector: sectors[sectors.len() - 1], reason: "changed its mind".to_owned() };
            return world.nats().await.ask(&request, LIMIT).await.is_ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_joined_a_message_which_is_not_sent_join_another() {
    const SECTORS: usize = 48;
    /// Messages that may be sent before a person changes its mind in time.
    const ROUNDS: usize = 4;
    let together = SECTORS.to_string();
    let env = [
        ("SEALSTREAM_COORDINATOR_BATCH__PRE_COMMIT__THRESHOLD", together.as_str()),
        ("SEALSTREAM_COORDINATOR_BATCH__PRE_COMMIT__MAX_WAIT", "1h"),
    ];
    let world = World::with(SealProof::Drg2KiBV1_1, Arc::new(FakeVerifier), &env).await;
    let dying = world.coordinator_to_die("coordinator.onchain.left").await;
    let _agent = world.agent("sealer", &SEALS);
    let mut sectors = world.submit(SECTORS);
    for round in 1.. {
        if abort_once_one_joined(&world, &sectors).await {
            break;
        }
        assert!(round < ROUNDS, "all had joined before a person could change its mind");
        sectors = world.submit(SECTORS);
    }
    let last = sectors[SECTORS - 1];
    dying.has_died().await;
    let _coordinator = world.cluster.coordinator().await;
    // In the place of the one that is gone: a message waits for so many.
    let one_more = world.submit(1);
    let all: Vec<SectorId> = sectors[..SECTORS - 1].iter().chain(&one_more).copied().collect();
    for sector in &all {
        world.until(*sector, is_sent).await;
    }
    for sector in &all {
        world.pass_until(*sector, is_pre_committed).await;
    }
    world.until(last, |record| record.state.name() == "aborted").await;
    let messages = outbox(&world).await;
    for sector in &all {
        let carried = messages.iter().filter(|entry| entry.sectors.contains(&sector.number)).count();
        assert_eq!(carried, 1, "{sector}: {messages:?}");
    }
}
