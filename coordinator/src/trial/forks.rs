//! Forks below a sector's messages, and a node that breaks and lies while it is sealed.

use chain::policy::PolicyOverride;
use devnet::{
    rpc::{Does, Rule},
    upheaval::{Lose, Upheaval},
};
use streams::{
    control::SubmitRequest,
    id::{Epoch, MinerId, SectorId},
    sector::{SectorRecord, SectorState},
    testing::wait_for,
};

use super::{
    agent::Agent,
    world::{LIMIT, Running, World},
};
use crate::{config::Config, sector::PROVE_COMMIT};

/// Tickets lie deeper than any fork here, as on a real chain.
fn config(world: &World) -> Config {
    let policy = PolicyOverride { finality: Some(200), ticket_lookback: Some(200), ..PolicyOverride::default() };
    Config { policy, ..world.config() }
}

async fn begin(world: &World) -> (Running, Agent, SectorId) {
    let coordinator = world.run_with(config(world)).await;
    let miner = world.miner().await;
    let agent = Agent::start(&world.nats, std::sync::Arc::default(), Vec::new()).await;
    let sector = submit(world, miner).await;
    (coordinator, agent, sector)
}

async fn submit(world: &World, miner: MinerId) -> SectorId {
    world.ask(&SubmitRequest { miner, count: 1, pieces: Vec::new() }).await.sectors[0]
}

/// The epoch of a sector's pre-commit, as its record has it.
fn pre_committed_at(record: &SectorRecord) -> Epoch {
    match record.state.pre_commit() {
        Some(pre_commit) => pre_commit.epoch,
        None => panic!("{:?}", record.state),
    }
}

fn activated_at(record: &SectorRecord) -> Epoch {
    let SectorState::Proving { activation, .. } = &record.state else { panic!("{record:?}") };
    *activation
}

/// Waits until a sector is proving and trimmed once more, as what is on chain now.
async fn until_done_again(world: &World, sector: SectorId, is_new: impl Fn(&SectorRecord) -> bool) -> SectorRecord {
    let is_new = &is_new;
    wait_for(LIMIT, || async move {
        let record = world.record(sector).await;
        let done = matches!(record.state, SectorState::Proving { finalized: true, .. });
        if done && is_new(&record) { Ok(record) } else { Err(format!("{record:#?}")) }
    })
    .await
}

/// Abandons every tipset from `epoch` on; others, without messages, take their place.
fn fork_from(world: &World, epoch: Epoch, lose: Lose) {
    world.chain().with(|chain| {
        let depth = usize::try_from(chain.height() - epoch + 1).unwrap();
        chain.reorganise_so(depth, &Upheaval { lose, refill: true }).unwrap();
    });
}

fn sent(record: &SectorRecord, method: &str) -> Vec<Option<u32>> {
    record.messages.iter().filter(|note| note.method == method).map(|note| note.exit_code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pre_commit_that_a_fork_took_away_lands_again_and_gets_its_own_seed() {
    let world = World::new().await;
    let (coordinator, _agent, sector) = begin(&world).await;
    let record = world.until(sector, &["pre-committed", "seed-ready", "c1-done", "c2-done"]).await;
    let epoch = pre_committed_at(&record);
    fork_from(&world, epoch, Lose::All);
    let record = world.until_done(sector).await;
    assert!(pre_committed_at(&record) > epoch, "{record:#?}");
    let exit_codes: Vec<_> = record.messages.iter().map(|note| note.exit_code).collect();
    assert_eq!(exit_codes.first(), Some(&Some(0)), "the same message, once: {:#?}", record.messages);
    assert_eq!(exit_codes.len(), sent(&record, PROVE_COMMIT).len() + 1, "{:#?}", record.messages);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prove_commit_that_a_fork_took_away_lands_again() {
    let world = World::new().await;
    let (coordinator, _agent, sector) = begin(&world).await;
    let record = world.until_done(sector).await;
    let (epoch, activation) = (pre_committed_at(&record), activated_at(&record));
    fork_from(&world, activation, Lose::All);
    let record = until_done_again(&world, sector, |record| activated_at(record) > activation).await;
    assert_eq!(pre_committed_at(&record), epoch);
    assert_eq!(sent(&record, PROVE_COMMIT), [Some(0)], "the same message");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_over_a_seed_that_a_fork_changed_is_made_again() {
    let world = World::new().await;
    let (coordinator, _agent, sector) = begin(&world).await;
    let record = world.until_done(sector).await;
    let epoch = pre_committed_at(&record);
    // Both messages wait and land together: the prove-commit comes too early for its pre-commit's new epoch.
    fork_from(&world, epoch, Lose::None);
    let record = until_done_again(&world, sector, |record| pre_committed_at(record) > epoch).await;
    let codes = sent(&record, PROVE_COMMIT);
    assert_eq!((codes.len(), codes.last()), (2, Some(&Some(0))), "{:#?}", record.messages);
    assert_ne!(codes[0], Some(0));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_breaks_and_lies_delays_a_sector_and_nothing_else() {
    let world = World::new().await;
    let mut config = config(&world);
    config.chain.timeout = std::time::Duration::from_secs(1);
    let coordinator = world.run_with(config).await;
    let miner = world.miner().await;
    let _agent = Agent::start(&world.nats, std::sync::Arc::default(), Vec::new()).await;
    let every = |does, times| Rule { method: "*".to_owned(), times, does };
    let pushes = |does, times| Rule { method: "Filecoin.MpoolPush".to_owned(), times, does };
    for round in 0..4 {
        let sector = submit(&world, miner).await;
        let rules = match round {
            0 => vec![every(Does::Hang { secs: 3 }, 3), every(Does::Http { status: 503 }, 15), every(Does::Drop, 15)],
            1 => vec![pushes(Does::LostAnswer, 2), pushes(Does::Http { status: 500 }, 2), every(Does::NoReceipt, 2)],
            2 => vec![every(Does::Stale { back: 4 }, 40)],
            _ => vec![every(Does::Network { name: "mainnet".to_owned() }, 4), every(Does::ExitCode { code: 16 }, 1)],
        };
        for rule in rules {
            world.chain().misbehave(|misbehaviour| misbehaviour.add(rule).unwrap());
        }
        let record = world.until_done(sector).await;
        let codes: Vec<_> = record.messages.iter().map(|note| note.exit_code).collect();
        assert_eq!(codes, [Some(0), Some(0)], "round {round}: {:#?}", record.messages);
        world.chain().misbehave(devnet::rpc::Misbehaviour::clear);
    }
    coordinator.stop().await;
}
