//! The sender on a chain that forgets, forks and lies: every message lands once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chain::{
    key::{KeyKind, LocalKey},
    rpc::{JsonRpc, NodeConfig},
    sender::{Outgoing, Pumped, SendError, Sender, SenderConfig},
};
use fvm_shared::{address::Address, econ::TokenAmount};
use host::clock::ManualClock;
use serde_json::{Value, json};
use streams::{
    id::{MinerId, SectorNumber},
    kv::{Bucket, BucketName},
    nats::Nats,
    records::{Fate, OutboxEntry},
    sector::MessageRef,
    testing::TestServer,
};
use tokio::sync::Mutex;

use crate::{
    node::Node,
    wallet::{Wallet, base64},
};

const FINALITY: i64 = 30;

struct Rig {
    node: Node,
    nats: Nats,
    _server: TestServer,
}

impl Rig {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let nats = server.connect_with_layout(Duration::from_secs(60)).await;
        let node = Node::that_says(true).await;
        node.advance(3).await;
        Self { node, nats, _server: server }
    }

    /// A process that sends for the funded secp256k1 key.
    async fn sender(&self) -> Sender {
        let key = LocalKey::from_bytes(KeyKind::Secp256k1, &[9; 32]).unwrap();
        let config = SenderConfig { confidence: 2, finality: FINALITY, ..SenderConfig::default() };
        let node = NodeConfig { endpoint: self.node.url().to_owned(), ..NodeConfig::default() };
        let rpc = JsonRpc::new(&node).unwrap();
        Sender::open(&self.nats, Arc::new(rpc), key, config, Arc::new(ManualClock::new(1))).await.unwrap()
    }

    /// Lets so many epochs pass, each with a round of the pump; what changed.
    async fn pass(&self, sender: &Sender, epochs: i64) -> Vec<OutboxEntry> {
        let mut changed = Vec::new();
        for _ in 0..epochs {
            self.node.advance(1).await;
            changed.extend(pump(sender).await.changed);
        }
        changed
    }

    async fn waiting(&self) -> Vec<Value> {
        let waiting = self.node.get("Devnet.Mempool", json!([])).await;
        waiting.as_array().unwrap().iter().map(|message| message["cid"].clone()).collect()
    }

    async fn fork(&self, depth: i64, how: Value) {
        self.node.get("Devnet.Reorganise", json!([depth, how])).await;
    }

    async fn entries(&self) -> Vec<OutboxEntry> {
        let outbox: Bucket<OutboxEntry> = Bucket::open(&self.nats, BucketName::Messages).await.unwrap();
        outbox.entries(">").await.unwrap().into_iter().map(|entry| entry.value).collect()
    }

    /// CIDs of every message on chain, oldest first.
    async fn on_chain(&self) -> Vec<String> {
        let log = self.node.get("Devnet.Log", json!([])).await;
        let lines = log["lines"].as_array().unwrap();
        let gone: BTreeSet<&str> = lines
            .iter()
            .filter(|line| line["line"] == "reorganised")
            .flat_map(|line| line["abandoned"].as_array().unwrap())
            .map(|cid| cid.as_str().unwrap())
            .collect();
        let tipsets = lines.iter().filter(|l| l["line"] == "tipset" && !gone.contains(l["cid"].as_str().unwrap()));
        tipsets
            .flat_map(|line| line["messages"].as_array().unwrap())
            .map(|m| m["cid"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn pump(sender: &Sender) -> Pumped {
    sender.pump().await.unwrap()
}

fn outgoing(sectors: &[u64]) -> Outgoing {
    Outgoing {
        to: Wallet::bls().address(),
        method: 0,
        method_name: "PreCommitSectorBatch2",
        value: TokenAmount::from_atto(1),
        // What is signed depends on what is carried, as in a batch.
        params: sectors.iter().flat_map(|number| number.to_be_bytes()).collect(),
        miner: MinerId(1000),
        sectors: sectors.iter().copied().map(SectorNumber).collect(),
    }
}

async fn send(sender: &Sender) -> (MessageRef, String) {
    let name = sender.send(outgoing(&[7]), async |_| Ok(())).await.unwrap();
    let entry = sender.entry(&name).await.unwrap().unwrap();
    (name, entry.signed[0].cid.clone())
}

async fn fate(sender: &Sender, name: &MessageRef) -> Fate {
    sender.entry(name).await.unwrap().unwrap().fate
}

/// The height an entry has settled at.
fn settled(fate: &Fate) -> Option<i64> {
    match fate {
        Fate::Landed { settled: true, height, .. } => Some(*height),
        _ => None,
    }
}

#[tokio::test]
async fn a_message_that_the_pool_lost_is_pushed_again_as_the_same_bytes() {
    let rig = Rig::new().await;
    let sender = rig.sender().await;
    let (name, cid) = send(&sender).await;
    for _ in 0..2 {
        rig.node.get("Devnet.MempoolDrop", json!([])).await;
        assert!(rig.waiting().await.is_empty());
        pump(&sender).await;
        assert_eq!(rig.waiting().await, [json!(cid)]);
    }
    rig.pass(&sender, 5).await;
    assert!(settled(&fate(&sender, &name).await).is_some());
    assert_eq!(rig.on_chain().await, [cid]);
}

#[tokio::test]
async fn a_message_whose_nonce_a_stranger_took_is_displaced_when_that_is_final() {
    let rig = Rig::new().await;
    let sender = rig.sender().await;
    let (name, cid) = send(&sender).await;
    let stranger = Wallet::secp().signed(Address::new_id(100), 0, 1);
    let replaced = rig.node.get("Devnet.Replace", json!([base64(&stranger.to_cbor().unwrap())])).await;
    rig.pass(&sender, FINALITY - 5).await;
    assert!(matches!(fate(&sender, &name).await, Fate::Journaled {} | Fate::Pushed { .. }), "a fork may undo it");
    rig.pass(&sender, 10).await;
    assert!(matches!(fate(&sender, &name).await, Fate::Displaced { .. }));
    assert_eq!(rig.on_chain().await, [replaced["/"].as_str().unwrap()]);
    let (next, _) = send(&sender).await;
    assert_eq!((next.nonce, cid != replaced["/"].as_str().unwrap()), (1, true));
}

#[tokio::test]
async fn a_fork_deeper_than_confidence_brings_a_settled_message_back() {
    let rig = Rig::new().await;
    let sender = rig.sender().await;
    let (name, cid) = send(&sender).await;
    rig.pass(&sender, 12).await;
    let first = settled(&fate(&sender, &name).await).unwrap();

    for restarted in [false, true] {
        rig.fork(14, json!({"lose": "all", "refill": true})).await;
        assert!(rig.waiting().await.is_empty());
        // A process that starts after the fork finds it as well.
        let other = rig.sender().await;
        let sender = if restarted { &other } else { &sender };
        let changed = pump(sender).await.changed;
        assert!(changed.iter().any(|entry| matches!(entry.fate, Fate::Pushed { .. })), "{changed:?}");
        assert_eq!(rig.waiting().await, [json!(cid)], "the same bytes");
        rig.pass(sender, 6).await;
        let again = settled(&fate(sender, &name).await).unwrap();
        assert!(again > first, "{again} after {first}");
    }
    assert_eq!(rig.on_chain().await, [cid]);
}

#[tokio::test]
async fn a_fork_that_moves_a_message_moves_its_landing() {
    let rig = Rig::new().await;
    let sender = rig.sender().await;
    let (name, cid) = send(&sender).await;
    rig.pass(&sender, 6).await;
    let first = settled(&fate(&sender, &name).await).unwrap();
    rig.fork(8, json!({"refill": true})).await;
    rig.node.advance(2).await;
    // It is there again before anybody looked; the first look is told otherwise.
    let lie = json!({"method": "Filecoin.StateSearchMsg", "does": "no-receipt", "times": 1});
    rig.node.get("Devnet.Misbehave", json!([lie])).await;
    assert!(pump(&sender).await.changed.is_empty(), "one answer is not enough to give a settled landing up");
    rig.pass(&sender, 3).await;
    assert!(settled(&fate(&sender, &name).await).unwrap() > first);
    assert_eq!(rig.on_chain().await, [cid]);
}

#[tokio::test]
async fn a_node_that_is_behind_or_lies_once_changes_nothing() {
    let rig = Rig::new().await;
    let sender = rig.sender().await;
    let (name, _) = send(&sender).await;
    rig.pass(&sender, 8).await;
    let before = fate(&sender, &name).await;
    assert!(settled(&before).is_some());
    for lie in [
        json!({"method": "*", "does": "stale", "back": 9, "times": 20}),
        json!({"method": "*", "does": "no-receipt", "times": 1}),
        json!({"method": "*", "does": "exit-code", "code": 16, "times": 1}),
    ] {
        rig.node.get("Devnet.Misbehave", json!([lie])).await;
        rig.pass(&sender, 3).await;
        rig.node.get("Devnet.Behave", json!([])).await;
        assert_eq!(fate(&sender, &name).await, before, "{lie}");
    }
    // Before it has settled, a false exit code does not settle.
    let (name, _) = send(&sender).await;
    rig.node.advance(6).await;
    let lie = json!({"method": "*", "does": "exit-code", "code": 16, "times": 1});
    rig.node.get("Devnet.Misbehave", json!([lie])).await;
    pump(&sender).await;
    assert!(settled(&fate(&sender, &name).await).is_none());
    rig.pass(&sender, 2).await;
    assert!(matches!(fate(&sender, &name).await, Fate::Landed { exit_code: 0, settled: true, .. }));
}

#[tokio::test]
async fn a_nonce_that_nothing_has_is_filled_and_one_in_the_outbox_never() {
    let rig = Rig::new().await;
    let sender = rig.sender().await;
    // A stranger's message has nonce 0 when ours is made, and is lost afterwards.
    rig.node.get("MpoolPush", json!([Wallet::secp().send(Address::new_id(100), 0, 0, vec![])])).await;
    let (name, cid) = send(&sender).await;
    assert_eq!(name.nonce, 1);
    pump(&sender).await;
    rig.node.get("Devnet.MempoolDrop", json!([{"nonce": 0}])).await;
    pump(&sender).await;
    assert_eq!(rig.entries().await.len(), 1, "one look may have come too early");
    rig.pass(&sender, 6).await;
    let entries = rig.entries().await;
    let filled = entries.iter().find(|entry| entry.message.nonce == 0).unwrap();
    assert_eq!((filled.method.as_str(), filled.sectors.len(), filled.miner), ("fill nonce gap", 0, MinerId(1000)));
    assert_eq!(rig.on_chain().await, [filled.signed[0].cid.clone(), cid]);
    assert!(entries.iter().all(|entry| settled(&entry.fate).is_some()), "{entries:?}");

    // Ours at nonce 2 is lost with its place in the pool while 3 waits: it is pushed again, nothing is filled.
    let (second, _) = send(&sender).await;
    send(&sender).await;
    for _ in 0..3 {
        rig.node.get("Devnet.MempoolDrop", json!([{"nonce": second.nonce}])).await;
        pump(&sender).await;
    }
    // Another process knows it from the bucket alone.
    let (other, late) = (rig.sender().await, send(&sender).await);
    rig.node.get("Devnet.MempoolDrop", json!([{"nonce": late.0.nonce}])).await;
    other.send(outgoing(&[8]), async |_| Ok(())).await.ok();
    rig.pass(&other, 6).await;
    let entries = rig.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry.method == "fill nonce gap").count(), 1, "{entries:?}");
    assert!(entries.iter().all(|entry| matches!(entry.fate, Fate::Landed { exit_code: 0, .. })), "{entries:?}");
}

/// Sectors that join a message by compare-and-set, as their records do.
#[derive(Default)]
struct Records(Mutex<BTreeMap<u64, Option<MessageRef>>>);

impl Records {
    /// Offers what is free of `wanted` in one message, as a coordinator does, until nothing of it is.
    async fn carry(&self, sender: &Sender, wanted: &[u64]) {
        loop {
            let free: Vec<u64> = {
                let records = self.0.lock().await;
                wanted.iter().copied().filter(|n| records.get(n).is_none_or(Option::is_none)).collect()
            };
            if free.is_empty() {
                return;
            }
            let mut joined = Vec::new();
            let sent = sender.send(outgoing(&free), async |name| {
                for number in &free {
                    let mut records = self.0.lock().await;
                    let record = records.entry(*number).or_default();
                    if record.is_some() {
                        return Err(format!("sector {number} is in another message").into());
                    }
                    *record = Some(name.clone());
                    joined.push((*number, name.clone()));
                    drop(records);
                    tokio::task::yield_now().await;
                }
                Ok(())
            });
            match sent.await {
                Ok(_) => {}
                Err(SendError::NonceTaken { .. } | SendError::Join { .. }) => {
                    for (number, name) in joined {
                        let entry = sender.entry(&name).await.unwrap();
                        let carried = entry.is_some_and(|entry| entry.sectors.contains(&SectorNumber(number)));
                        if !carried {
                            self.0.lock().await.insert(number, None);
                        }
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn two_that_both_lead_and_cut_different_batches_send_one_message_a_sector() {
    let rig = Rig::new().await;
    let (one, two) = (rig.sender().await, rig.sender().await);
    let records = Records::default();
    for round in 0..8 {
        let at = round * 10;
        let (left, right) = ([at, at + 1, at + 2, at + 3], [at + 3, at + 2, at + 4]);
        tokio::join!(records.carry(&one, &left), records.carry(&two, &right));
        rig.node.advance(1).await;
        tokio::join!(pump(&one), pump(&two));
    }
    rig.pass(&one, 4).await;
    let entries = rig.entries().await;
    let mut carried: Vec<u64> = entries.iter().flat_map(|entry| &entry.sectors).map(|number| number.0).collect();
    carried.sort_unstable();
    let every: Vec<u64> = (0..8).flat_map(|round| (0..5).map(move |n| round * 10 + n)).collect();
    assert_eq!(carried, every, "each sector in one message");
    let nonces: Vec<u64> = (0..).take(entries.len()).collect();
    let mut used: Vec<u64> = entries.iter().map(|entry| entry.message.nonce).collect();
    used.sort_unstable();
    assert_eq!(used, nonces, "no gap and no nonce twice");
    let signed: BTreeSet<String> = entries.iter().map(|entry| entry.signed[0].cid.clone()).collect();
    let on_chain = rig.on_chain().await;
    assert_eq!((on_chain.len(), on_chain.into_iter().collect::<BTreeSet<_>>()), (signed.len(), signed));
}
