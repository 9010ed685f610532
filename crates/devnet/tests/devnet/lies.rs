//! A node that stalls, breaks and lies for as many calls as it is told to.

use std::time::Duration;

use chain::{
    ChainApi as _, Fault, cids,
    rpc::{JsonRpc, NodeConfig},
};
use serde_json::json;

use crate::{node::Node, wallet::Wallet};

fn client(node: &Node) -> JsonRpc {
    JsonRpc::new(&NodeConfig { endpoint: node.url().to_owned(), timeout_secs: 1, ..NodeConfig::default() }).unwrap()
}

async fn misbehave(node: &Node, rule: serde_json::Value) {
    node.get("Devnet.Misbehave", json!([rule])).await;
}

#[tokio::test]
async fn silence_broken_connections_and_errors_end_after_so_many_calls() {
    let node = Node::that_says(false).await;
    let client = client(&node);
    misbehave(&node, json!({"method": "Filecoin.ChainHead", "does": "hang", "secs": 30, "times": 1})).await;
    assert_eq!(client.head().await.unwrap_err().fault, Fault::Timeout(Duration::from_secs(1)));
    misbehave(&node, json!({"method": "*", "does": "http", "status": 502, "times": 1})).await;
    let error = client.head().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Refused { code: 502, .. }) && error.is_retryable(), "{error}");
    for does in ["drop", "lost-answer"] {
        misbehave(&node, json!({"method": "*", "does": does, "times": 1})).await;
        let error = client.head().await.unwrap_err();
        assert!(matches!(error.fault, Fault::Transport(_)), "{does}: {error}");
    }
    assert_eq!(client.head().await.unwrap().height, 0);
    assert_eq!(node.get("Devnet.Misbehaviour", json!([])).await, json!([]));
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_was_executed_and_a_dropped_one_was_not() {
    let node = Node::that_says(false).await;
    let client = client(&node);
    let signed = Wallet::secp().signed(Wallet::bls().address(), 0, 100_000);
    let bytes = signed.to_cbor().unwrap();
    for (does, waiting) in [("drop", 0), ("lost-answer", 1)] {
        misbehave(&node, json!({"method": "Filecoin.MpoolPush", "does": does, "times": 1})).await;
        client.mpool_push(&bytes).await.unwrap_err();
        assert_eq!(node.get("Devnet.Mempool", json!([])).await.as_array().unwrap().len(), waiting, "{does}");
    }
}

#[tokio::test]
async fn a_stale_node_is_behind_in_everything_it_says() {
    let node = Node::that_says(false).await;
    let client = client(&node);
    let wallet = Wallet::secp();
    node.advance(3).await;
    let cid = client.mpool_push(&wallet.signed(Wallet::bls().address(), 0, 100_000).to_cbor().unwrap()).await.unwrap();
    node.advance(3).await;
    misbehave(&node, json!({"method": "*", "does": "stale", "back": 3, "times": 3})).await;
    assert_eq!(client.head().await.unwrap().height, 3);
    assert_eq!(client.search_message(&cid).await.unwrap(), None);
    assert_eq!(client.mpool_nonce(&wallet.address()).await.unwrap(), 0);
    assert_eq!(client.head().await.unwrap().height, 6);
    assert_eq!(client.mpool_nonce(&wallet.address()).await.unwrap(), 1);
}

#[tokio::test]
async fn names_and_receipts_are_lied_about() {
    let node = Node::that_says(false).await;
    let client = client(&node);
    let cid = client.mpool_push(&Wallet::secp().signed(Wallet::bls().address(), 0, 100_000).to_cbor().unwrap()).await;
    let cid = cid.unwrap();
    node.advance(2).await;
    misbehave(&node, json!({"method": "*", "does": "network", "name": "elsewhere", "times": 1})).await;
    misbehave(&node, json!({"method": "*", "does": "no-receipt", "times": 1})).await;
    misbehave(&node, json!({"method": "*", "does": "exit-code", "code": 16, "times": 1})).await;
    assert_eq!(self::client(&node).network_params().await.unwrap().name, "elsewhere");
    assert_eq!(self::client(&node).network_params().await.unwrap().name, "sealstream-fast");
    assert_eq!(client.search_message(&cid).await.unwrap(), None);
    assert_eq!(client.search_message(&cid).await.unwrap().unwrap().receipt.exit_code, 16);
    assert_eq!(client.search_message(&cid).await.unwrap().unwrap().receipt.exit_code, 0);
    misbehave(&node, json!({"method": "*", "does": "drop", "times": 7})).await;
    assert_eq!(node.get("Devnet.Behave", json!([])).await, 7);
    assert!(client.search_message(&cids::of_cbor(b"no such message")).await.is_ok());
    let nonsense = json!([{"method": "*", "does": "explode", "times": 1}]);
    assert!(node.ask("Devnet.Misbehave", nonsense).await.is_err());
}

#[tokio::test]
async fn nothing_is_sent_through_a_node_that_turns_out_to_be_on_another_network() {
    let node = Node::that_says(false).await;
    let client = client(&node);
    assert_eq!(client.network_params().await.unwrap().name, "sealstream-fast");
    let bytes = Wallet::secp().signed(Wallet::bls().address(), 0, 100_000).to_cbor().unwrap();
    misbehave(&node, json!({"method": "*", "does": "network", "name": "mainnet", "times": 2})).await;
    for _ in 0..2 {
        let error = client.mpool_push(&bytes).await.unwrap_err();
        assert!(matches!(error.fault, Fault::OtherNetwork { .. }) && error.is_retryable(), "{error}");
        assert!(error.to_string().contains("mainnet") && error.to_string().contains("sealstream-fast"), "{error}");
    }
    assert_eq!(node.get("Devnet.Mempool", json!([])).await, json!([]));
    client.mpool_push(&bytes).await.unwrap();
}
