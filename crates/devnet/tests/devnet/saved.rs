//! Chains in files: a fork goes on by itself, and a damaged file is told apart from none.

use std::sync::Arc;

use devnet::{Devnet, snapshot::BadSnapshot};
use serde_json::json;

use crate::{
    miner::Miner,
    node::{Node, Says},
    wallet::Wallet,
    window::presealed,
};

#[tokio::test]
async fn a_fork_shares_the_past_and_has_its_own_future() {
    let mut chain = Devnet::new(presealed(3, true), Arc::new(Says(true))).unwrap();
    chain.advance(50).unwrap();
    let fork = chain.fork(Arc::new(Says(true))).unwrap();
    let (node, fork) = (Node::serving(chain).await, Node::serving(fork).await);
    assert_eq!(node.get("ChainHead", json!([])).await, fork.get("ChainHead", json!([])).await);
    let miner = Miner::of_genesis(&fork, Wallet::bls());
    assert_eq!(miner.get("StateMinerSectorCount").await["Live"], 3);
    node.advance(5).await;
    fork.advance(5).await;
    assert_eq!(
        node.get("ChainHead", json!([])).await,
        fork.get("ChainHead", json!([])).await,
        "same genesis, same messages"
    );
    let wallet = Wallet::secp();
    fork.get("MpoolPush", json!([wallet.send(Wallet::bls().address(), 0, 0, vec![])])).await;
    node.advance(2).await;
    fork.advance(2).await;
    assert_ne!(node.get("ChainHead", json!([])).await, fork.get("ChainHead", json!([])).await);
}

#[test]
fn a_saved_chain_is_whole_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.state");
    assert!(Devnet::load(&path, Arc::new(Says(true))).unwrap().is_none(), "absent is not corrupt");
    let mut chain = Devnet::new(presealed(1, true), Arc::new(Says(true))).unwrap();
    chain.advance(3).unwrap();
    chain.save(&path).unwrap();
    assert_eq!(Devnet::load(&path, Arc::new(Says(true))).unwrap().unwrap().height(), 3);

    let mut bytes = chain.to_snapshot().unwrap();
    bytes[19] = 9;
    assert!(matches!(Devnet::from_snapshot(&bytes, Arc::new(Says(true))), Err(BadSnapshot::TooNew { found: 9 })));
    let mut bytes = chain.to_snapshot().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    for damaged in [&bytes[..], &bytes[..30], b""] {
        assert!(matches!(Devnet::from_snapshot(damaged, Arc::new(Says(true))), Err(BadSnapshot::Corrupt(_))));
    }
}
