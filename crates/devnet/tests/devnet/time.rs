//! Epochs, null rounds, reorganisations and randomness.

use chain::randomness::{blake2b_256, draw, entropy};
use serde_json::json;
use streams::id::MinerId;

use crate::{
    node::Node,
    wallet::{Wallet, base64, from_base64},
};

#[tokio::test]
async fn draws_are_made_of_tag_base_epoch_and_entropy() {
    let node = Node::that_says(false).await;
    node.advance(6).await;
    let entropy = entropy(MinerId(1000));
    assert_eq!(base64(&entropy), "QwDoBw==");
    let tipset = node.get("ChainGetTipSetByHeight", json!([4, []])).await;
    let ticket = blake2b_256(&from_base64(&tipset["Blocks"][0]["Ticket"]["VRFProof"]));
    let drawn = node.get("StateGetRandomnessFromTickets", json!([5, 4, base64(&entropy), []])).await;
    assert_eq!(from_base64(&drawn), draw(&ticket, 5, 4, &entropy).0);

    let entry = &tipset["Blocks"][0]["BeaconEntries"][0];
    assert_eq!(entry["Round"], 4);
    let beacon = blake2b_256(&from_base64(&entry["Data"]));
    let drawn = node.get("StateGetRandomnessFromBeacon", json!([6, 4, base64(&entropy), []])).await;
    assert_eq!(from_base64(&drawn), draw(&beacon, 6, 4, &entropy).0);
    let other = node.get("StateGetRandomnessFromBeacon", json!([4, 4, base64(&entropy), []])).await;
    assert_ne!(drawn, other, "another tag is another draw");

    let young = node.get("StateGetRandomnessFromTickets", json!([5, -3, base64(&entropy), []])).await;
    let genesis = node.get("ChainGetGenesis", json!([])).await;
    let first = blake2b_256(&from_base64(&genesis["Blocks"][0]["Ticket"]["VRFProof"]));
    assert_eq!(from_base64(&young), draw(&first, 5, -3, &entropy).0, "the oldest ticket, the epoch as asked");
    let (_, words) = node.ask("StateGetRandomnessFromBeacon", json!([6, 7, null, []])).await.unwrap_err();
    assert!(words.contains("from the future"), "{words}");
}

#[tokio::test]
async fn a_null_round_has_no_tipset_but_a_beacon_entry() {
    let node = Node::that_says(false).await;
    node.advance(2).await;
    node.get("Devnet.NullRounds", json!([2])).await;
    assert_eq!(node.advance(2).await, 2, "the head stays through null rounds");
    assert_eq!(node.advance(1).await, 5);
    let head = node.get("ChainHead", json!([])).await;
    let rounds: Vec<_> =
        head["Blocks"][0]["BeaconEntries"].as_array().unwrap().iter().map(|e| e["Round"].clone()).collect();
    assert_eq!(rounds, [3, 4, 5]);
    assert_eq!(node.get("ChainGetTipSetByHeight", json!([4, []])).await["Height"], 2);
    assert_eq!(node.get("ChainGetTipSetAfterHeight", json!([3, []])).await["Height"], 5);
    let at = |epoch| node.get("StateGetRandomnessFromTickets", json!([9, epoch, null, []]));
    assert_ne!(at(3).await, at(4).await, "one ticket, two epochs");
}

#[tokio::test]
async fn a_reorganisation_takes_messages_back_and_changes_tickets() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    node.advance(3).await;
    let cid = node.get("MpoolPush", json!([wallet.send(Wallet::bls().address(), 0, 0, vec![])])).await;
    assert_eq!(node.receipt(&cid).await["ExitCode"], 0);
    let before = node.get("ChainHead", json!([])).await;
    assert_eq!(node.get("Devnet.Reorganise", json!([2])).await, 3);
    assert_eq!(node.get("StateSearchMsg", json!([[], cid, -1, true])).await, json!(null));
    assert_eq!(node.ask("ChainGetTipSet", json!([before["Cids"]])).await.unwrap_err().0, 1);
    node.advance(2).await;
    let after = node.get("ChainHead", json!([])).await;
    assert_ne!(before["Blocks"][0]["Ticket"], after["Blocks"][0]["Ticket"]);
    assert_eq!(node.get("StateSearchMsg", json!([[], cid, -1, true])).await["Receipt"]["ExitCode"], 0);
}
