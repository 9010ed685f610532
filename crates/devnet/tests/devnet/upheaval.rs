//! Reorganisations that take messages along, and a mempool that loses and exchanges them.

use serde_json::{Value, json};

use crate::{
    miner::{Miner, sector},
    node::Node,
    wallet::{Wallet, base64},
};

async fn pre_commit_epoch(miner: &Miner<'_>, number: u64) -> Value {
    miner.sector("StateSectorPreCommitInfo", number).await["PreCommitEpoch"].clone()
}

async fn search(node: &Node, cid: &Value) -> Value {
    node.get("StateSearchMsg", json!([[], cid, -1, true])).await
}

async fn push(node: &Node, wallet: &Wallet, nonce: u64) -> Value {
    node.get("MpoolPush", json!([wallet.send(Wallet::bls().address(), nonce, 0, vec![])])).await
}

#[tokio::test]
async fn a_deep_reorganisation_gives_a_pre_commit_another_epoch() {
    let node = Node::that_says(true).await;
    let miner = Miner::create(&node).await;
    node.advance_to(10).await;
    assert_eq!(miner.pre_commit(&[sector(3, 11)]).await["ExitCode"], 0);
    assert_eq!(pre_commit_epoch(&miner, 3).await, 11);
    node.advance_to(40).await;
    let ticket = || async { node.get("ChainGetTipSetByHeight", json!([20, []])).await["Blocks"][0]["Ticket"].clone() };
    let beacon = || async { node.get("StateGetRandomnessFromBeacon", json!([6, 20, null, []])).await };
    let before = (ticket().await, beacon().await);

    assert_eq!(node.get("Devnet.Reorganise", json!([32, {"refill": true}])).await, 40, "as high as before");
    assert_eq!(node.get("ChainGetTipSetByHeight", json!([20, []])).await["Height"], 20, "no null rounds");
    assert_eq!(pre_commit_epoch(&miner, 3).await, json!(null), "it waits again");
    assert_ne!(ticket().await, before.0);
    assert_eq!(beacon().await, before.1, "the beacon does not belong to a branch");
    node.advance(2).await;
    assert_eq!(pre_commit_epoch(&miner, 3).await, 41);
}

#[tokio::test]
async fn a_reorganisation_loses_the_messages_it_is_told_to() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    node.advance(3).await;
    let (first, second) = (push(&node, &wallet, 0).await, push(&node, &wallet, 1).await);
    node.advance(2).await;
    assert!(!search(&node, &first).await.is_null() && !search(&node, &second).await.is_null());

    node.get("Devnet.Reorganise", json!([2, {"lose": [first["/"]]}])).await;
    let waiting = node.get("Devnet.Mempool", json!([])).await;
    assert_eq!((waiting.as_array().unwrap().len(), &waiting[0]["cid"]), (1, &second["/"]));
    assert_eq!(node.get("MpoolGetNonce", json!([wallet.text()])).await, 0, "the first is in no pool");
    node.advance(3).await;
    assert!(search(&node, &second).await.is_null(), "it waits behind the gap");
    assert_eq!(push(&node, &wallet, 0).await, first, "the same bytes are the same message");
    node.advance(2).await;
    assert!(!search(&node, &first).await.is_null() && !search(&node, &second).await.is_null());

    node.get("Devnet.Reorganise", json!([2, {"lose": "all"}])).await;
    assert_eq!(node.get("Devnet.Mempool", json!([])).await, json!([]));
    assert!(node.ask("Devnet.Reorganise", json!([1, {"loose": "all"}])).await.is_err(), "a word misspelt");
}

#[tokio::test]
async fn the_pool_forgets_what_it_is_told_to() {
    let node = Node::that_says(false).await;
    let (one, other) = (Wallet::secp(), Wallet::bls());
    push(&node, &one, 0).await;
    let last = push(&node, &one, 1).await;
    let foreign = push(&node, &other, 0).await;
    assert_eq!(node.get("Devnet.MempoolDrop", json!([{"from": one.text(), "nonce": 1}])).await, json!([last["/"]]));
    assert_eq!(node.get("MpoolGetNonce", json!([one.text()])).await, 1);
    assert_eq!(node.get("Devnet.MempoolDrop", json!([{"from": other.text()}])).await, json!([foreign["/"]]));
    assert_eq!(node.get("Devnet.MempoolDrop", json!([])).await.as_array().unwrap().len(), 1);
    assert_eq!(node.get("Devnet.Mempool", json!([])).await, json!([]));
    push(&node, &one, 0).await;
}

#[tokio::test]
async fn another_message_takes_a_nonce_at_any_price() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    let first = push(&node, &wallet, 0).await;
    let cheap = wallet.signed(Wallet::bls().address(), 0, 1);
    let bytes = base64(&cheap.to_cbor().unwrap());
    let second = node.get("Devnet.Replace", json!([bytes])).await;
    assert_ne!(second, first);
    node.advance(2).await;
    assert_eq!(search(&node, &first).await["Message"], second, "found as what replaced it");
    let (_, words) = node.ask("Devnet.Replace", json!([bytes])).await.unwrap_err();
    assert!(words.contains("nonce too low"), "{words}");

    let mut forged = wallet.signed(Wallet::bls().address(), 1, 1);
    forged.message.sequence = 2;
    let (_, words) = node.ask("Devnet.Replace", json!([base64(&forged.to_cbor().unwrap())])).await.unwrap_err();
    assert!(words.contains("signature"), "{words}");
}
