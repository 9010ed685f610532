//! Window PoSts over presealed sectors: when they are taken, and what a missed one costs.

use std::sync::Arc;

use devnet::{Devnet, GenesisMiner, PresealedSector};
use serde_json::json;
use streams::{id::SectorNumber, proof::Bytes32};

use crate::{
    miner::{Miner, NOTHING, PROOF},
    node::{Node, Says, genesis},
    wallet::{Wallet, whole},
};

/// A chain whose first miner has `sectors` active sectors.
pub(crate) fn presealed(sectors: u64, strict: bool) -> devnet::Genesis {
    let me = Wallet::bls().address();
    let sector = |number: u64| PresealedSector {
        number: SectorNumber(number),
        comm_r: Bytes32([number.to_le_bytes()[0] + 1; 32]),
        comm_d: None,
        expiration: 200_000,
    };
    let mut genesis = genesis();
    genesis.strict_posts = strict;
    genesis.miners = vec![GenesisMiner {
        owner: me,
        worker: me,
        proof: PROOF,
        funds: whole(100),
        sectors: (0..sectors).map(sector).collect(),
    }];
    genesis
}

async fn node(sectors: u64, strict: bool, verdict: bool) -> Node {
    Node::serving(Devnet::new(presealed(sectors, strict), Arc::new(Says(verdict))).unwrap()).await
}

#[tokio::test]
async fn presealed_sectors_are_active_and_spread_over_deadlines() {
    let node = node(7, true, true).await;
    let miner = Miner::of_genesis(&node, Wallet::bls());
    assert_eq!(miner.get("StateMinerSectorCount").await, json!({"Live": 7, "Active": 7, "Faulty": 0}));
    assert_eq!(miner.power().await["RawBytePower"], (7 * 2048).to_string());
    let mut deadlines = Vec::new();
    for number in 0..7 {
        deadlines.push(miner.location(number).await.0);
    }
    deadlines.dedup();
    assert!(deadlines.len() > 1, "{deadlines:?}");
}

#[tokio::test]
async fn a_post_in_its_window_is_recorded_and_keeps_the_power() {
    let node = node(1, true, true).await;
    let miner = Miner::of_genesis(&node, Wallet::bls());
    let (deadline, partition) = miner.location(0).await;
    miner.advance_into(deadline).await;
    let post = miner.post(deadline, partition, &NOTHING).await;
    let receipt = miner.submit_post(&post).await;
    assert_eq!((&receipt["ExitCode"], &receipt["GasUsed"]), (&json!(0), &json!(22_800_000)));
    let index = usize::try_from(deadline).unwrap();
    assert_eq!(miner.get("StateMinerDeadlines").await[index]["PostSubmissions"], json!([0, 1]));
    let verdicts = node.get("Devnet.PostVerdicts", json!([])).await;
    assert_eq!((verdicts.as_array().unwrap().len(), &verdicts[0]["valid"]), (1, &json!(true)));

    let again = miner.post(deadline, partition, &NOTHING).await;
    assert_eq!(miner.submit_post(&again).await["ExitCode"], 16, "a partition is proven once a window");
    node.advance(20).await;
    assert_eq!(miner.power().await["RawBytePower"], "2048");
    assert_eq!(miner.get("StateMinerDeadlines").await[index]["PostSubmissions"], json!([0]), "a new window is empty");
}

#[tokio::test]
async fn a_post_elsewhere_or_on_another_chain_is_refused() {
    let node = node(1, true, true).await;
    let miner = Miner::of_genesis(&node, Wallet::bls());
    let (deadline, partition) = miner.location(0).await;
    miner.advance_into((deadline + 5) % 6).await;
    let early = miner.post(deadline, partition, &NOTHING).await;
    assert_eq!(miner.submit_post(&early).await["ExitCode"], 16, "the wrong deadline");
    let now = miner.advance_into(deadline).await;
    let mut other = miner.post(deadline, partition, &NOTHING).await;
    other.chain_commit_rand = Bytes32([9; 32]);
    assert_eq!(miner.submit_post(&other).await["ExitCode"], 16, "committed to another chain");
    let mut stale = miner.post(deadline, partition, &NOTHING).await;
    stale.chain_commit_epoch = now["Challenge"].as_i64().unwrap() - 1;
    assert_eq!(miner.submit_post(&stale).await["ExitCode"], 16, "committed before the challenge");
    let mut four = miner.post(deadline, partition, &NOTHING).await;
    four.partitions = (0..4).map(|index| (index, vec![])).collect();
    assert_eq!(miner.submit_post(&four).await["ExitCode"], 16, "four partitions");
    let mut skipped = miner.post(deadline, partition, &NOTHING).await;
    skipped.partitions = vec![(partition, vec![SectorNumber(0)])];
    assert_eq!(miner.submit_post(&skipped).await["ExitCode"], 16, "nothing is proven");
}

#[tokio::test]
async fn a_bad_post_is_refused_or_recorded_but_never_unseen() {
    for strict in [true, false] {
        let node = node(1, strict, false).await;
        let miner = Miner::of_genesis(&node, Wallet::bls());
        let (deadline, partition) = miner.location(0).await;
        miner.advance_into(deadline).await;
        let post = miner.post(deadline, partition, &NOTHING).await;
        let expected = if strict { 16 } else { 0 };
        assert_eq!(miner.submit_post(&post).await["ExitCode"], expected, "strict: {strict}");
        let verdicts = node.get("Devnet.PostVerdicts", json!([])).await;
        assert_eq!(verdicts[0]["valid"], false);
        assert_eq!(verdicts[0]["partitions"], json!([partition]));
    }
}

#[tokio::test]
async fn a_missed_window_takes_the_power_and_a_recovery_gives_it_back() {
    let node = node(1, true, true).await;
    let miner = Miner::of_genesis(&node, Wallet::bls());
    let (deadline, partition) = miner.location(0).await;
    let index = usize::try_from(partition).unwrap();
    miner.advance_into(deadline).await;
    node.advance(16).await;
    assert_eq!(miner.get("StateMinerFaults").await, json!([0, 1]));
    assert_eq!(miner.power().await["RawBytePower"], "0");

    assert_eq!(miner.declare_recovered(deadline, partition, &[0]).await["ExitCode"], 0);
    assert_eq!(miner.partition(deadline, index).await["RecoveringSectors"], json!([0, 1]));
    let now = miner.advance_into(deadline).await;
    assert_eq!(miner.declare_recovered(deadline, partition, &[0]).await["ExitCode"], 16, "after the cutoff: {now}");
    let post = miner.post(deadline, partition, &NOTHING).await;
    assert_eq!(miner.submit_post(&post).await["ExitCode"], 0);
    assert_eq!(miner.get("StateMinerFaults").await, json!([0]));
    assert_eq!(miner.power().await["RawBytePower"], "2048");
}

#[tokio::test]
async fn a_sector_faulty_for_too_long_is_terminated() {
    let node = node(1, true, true).await;
    let miner = Miner::of_genesis(&node, Wallet::bls());
    node.advance(90 * 45).await;
    assert_eq!(miner.get("StateMinerSectorCount").await, json!({"Live": 0, "Active": 0, "Faulty": 0}));
}
