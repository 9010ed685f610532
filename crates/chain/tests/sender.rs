//! The sender over a real nats-server, on a chain that does what the test says.
#![expect(clippy::unwrap_used, reason = "tests")]

mod scripted;

use std::{sync::Arc, time::Duration};

use chain::{
    key::{KeyKind, LocalKey, verify_message},
    message::SignedMessage,
    sender::{Outgoing, SendError, Sender, SenderConfig},
};
use fvm_shared::{address::Address, econ::TokenAmount};
use host::clock::ManualClock;
use scripted::{Scripted, lookup};
use streams::{
    id::{MinerId, SectorNumber},
    nats::Nats,
    records::Fate,
    testing::TestServer,
};

const SECRET: [u8; 32] = [5; 32];

async fn sender(nats: &Nats, chain: &Scripted) -> Sender {
    let key = LocalKey::from_bytes(KeyKind::Secp256k1, &SECRET).unwrap();
    let config = SenderConfig { confidence: 5, finality: 20, ..SenderConfig::default() };
    Sender::open(nats, Arc::new(chain.clone()), key, config, Arc::new(ManualClock::new(1))).await.unwrap()
}

async fn nats() -> (TestServer, Nats) {
    let server = TestServer::start().await;
    let nats = server.connect_with_layout(Duration::from_secs(60)).await;
    (server, nats)
}

fn outgoing() -> Outgoing {
    Outgoing {
        to: Address::new_id(1000),
        method: 28,
        method_name: "PreCommitSectorBatch2",
        value: TokenAmount::from_whole(1),
        params: vec![0x81, 0x80],
        miner: MinerId(1000),
        sectors: vec![SectorNumber(7)],
    }
}

#[tokio::test]
async fn a_message_is_journaled_pushed_and_followed_until_it_is_settled() {
    let (_server, nats) = nats().await;
    let chain = Scripted::default();
    chain.set(|s| s.mpool_nonce = 41);
    let sender = sender(&nats, &chain).await;
    let mut joined = None;
    let name = sender
        .send(outgoing(), async |name| {
            joined = Some(name);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((name.nonce, joined.as_ref()), (41, Some(&name)));

    let entry = sender.entry(&name).await.unwrap().unwrap();
    let signed = SignedMessage::from_cbor(&entry.signed[0].bytes.0).unwrap();
    verify_message(&signed, &sender.address()).unwrap();
    assert_eq!(entry.signed[0].cid, signed.cid().unwrap().to_string());
    assert_eq!((signed.message.sequence, signed.message.gas_limit), (41, 1_250));
    assert_eq!(chain.pushed(), vec![entry.signed[0].bytes.0.clone()]);

    let pumped = sender.pump().await.unwrap();
    assert!(matches!(pumped.changed[0].fate, Fate::Pushed { .. }));
    chain.set(|s| s.landed = Some(lookup(signed.cid().unwrap(), 100, 0)));
    let pumped = sender.pump().await.unwrap();
    assert!(matches!(pumped.changed[0].fate, Fate::Landed { exit_code: 0, settled: false, .. }));
    assert!(sender.pump().await.unwrap().changed.is_empty());
    chain.set(|s| s.height = 105);
    let pumped = sender.pump().await.unwrap();
    assert!(matches!(pumped.changed[0].fate, Fate::Landed { settled: true, .. }));
    assert_eq!(sender.entry(&name).await.unwrap().unwrap(), pumped.changed[0]);
}

#[tokio::test]
async fn a_crash_between_journal_and_push_pushes_the_same_bytes() {
    let (_server, nats) = nats().await;
    let chain = Scripted::default();
    chain.set(|s| s.push_cut = true);
    let crashed = sender(&nats, &chain).await;
    let name = crashed.send(outgoing(), async |_| Ok(())).await.unwrap();
    let pumped = crashed.pump().await.unwrap();
    assert_eq!((pumped.changed.len(), pumped.refused.len()), (0, 1), "the node is unreachable, nothing changed");
    let journaled = crashed.entry(&name).await.unwrap().unwrap();
    assert_eq!(journaled.fate, Fate::Journaled {});
    drop(crashed);
    assert!(chain.pushed().is_empty());

    chain.set(|s| s.push_cut = false);
    let restarted = sender(&nats, &chain).await;
    restarted.pump().await.unwrap();
    restarted.pump().await.unwrap();
    let bytes = journaled.signed[0].bytes.0.clone();
    assert_eq!(chain.pushed(), vec![bytes.clone(), bytes], "the same bytes, as often as it takes");
    // The node has forgotten its pool: its next nonce is the one that is in the outbox.
    let next = restarted.send(outgoing(), async |_| Ok(())).await.unwrap();
    assert_eq!(next.nonce, name.nonce + 1);
}

#[tokio::test]
async fn of_two_senders_with_one_nonce_one_wins() {
    let (_server, nats) = nats().await;
    let chain = Scripted::default();
    let (slow, fast) = (sender(&nats, &chain).await, sender(&nats, &chain).await);
    // The fast one sends while the slow one is between its nonce and the journal.
    let lost = slow
        .send(outgoing(), async |name| {
            let won = fast.send(Outgoing { value: TokenAmount::from_whole(2), ..outgoing() }, async |_| Ok(())).await?;
            assert_eq!(won, name);
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(lost, SendError::NonceTaken { nonce: 0, .. }) && lost.is_retryable(), "{lost}");
    assert_eq!(chain.pushed().len(), 1);
    let again = slow.send(outgoing(), async |_| Ok(())).await.unwrap();
    assert_eq!(again.nonce, 1);
}

#[tokio::test]
async fn a_standby_that_takes_over_knows_what_the_leader_sent() {
    let (_server, nats) = nats().await;
    let chain = Scripted::default();
    let (standby, leader) = (sender(&nats, &chain).await, sender(&nats, &chain).await);
    let name = leader.send(outgoing(), async |_| Ok(())).await.unwrap();
    assert!(standby.pump().await.unwrap().changed.is_empty());

    standby.take_over().await.unwrap();
    let pumped = standby.pump().await.unwrap();
    assert_eq!(pumped.changed[0].message, name);
    let next = standby.send(outgoing(), async |_| Ok(())).await.unwrap();
    assert_eq!(next.nonce, name.nonce + 1);
}

#[tokio::test]
async fn a_message_that_would_fail_or_that_nobody_joins_leaves_nothing_behind() {
    let (_server, nats) = nats().await;
    let chain = Scripted::default();
    let sender = sender(&nats, &chain).await;
    chain.set(|s| s.would_fail = Some(16));
    let refused = sender.send(outgoing(), async |_| panic!("joined before it was checked")).await.unwrap_err();
    assert_eq!((refused.exit_code(), refused.is_retryable()), (Some(16), false));

    chain.set(|s| s.would_fail = None);
    let mut joined = None;
    let refused = sender.send(outgoing(), async |name| {
        joined = Some(name);
        Err("the record was changed by another".into())
    });
    assert!(matches!(refused.await.unwrap_err(), SendError::Join { nonce: 0, .. }));
    assert_eq!(sender.entry(&joined.unwrap()).await.unwrap(), None);
    assert!(chain.pushed().is_empty());
}

#[tokio::test]
async fn failing_on_chain_is_told_from_never_landing() {
    let (_server, nats) = nats().await;
    let chain = Scripted::default();
    let sender = sender(&nats, &chain).await;
    sender.send(outgoing(), async |_| Ok(())).await.unwrap();

    // Another message used the nonce, ten epochs ago: not final yet.
    chain.set(|s| s.nonces = vec![(90, 1)]);
    assert!(sender.pump().await.unwrap().changed.is_empty());
    let pushes = chain.pushed().len();
    chain.set(|s| s.height = 110);
    let pumped = sender.pump().await.unwrap();
    assert!(matches!(pumped.changed[0].fate, Fate::Displaced { .. }));
    assert_eq!(chain.pushed().len(), pushes, "a used nonce is not pushed");

    let failing = sender.send(outgoing(), async |_| Ok(())).await.unwrap();
    assert_eq!(failing.nonce, 1);
    let entry = sender.entry(&failing).await.unwrap().unwrap();
    let cid = chain::cids::parse(&entry.signed[0].cid).unwrap();
    chain.set(|s| s.landed = Some(lookup(cid, 111, 16)));
    let pumped = sender.pump().await.unwrap();
    assert!(matches!(pumped.changed[0].fate, Fate::Landed { exit_code: 16, settled: false, .. }));
    // A reorg takes it away, and it is pushed again.
    chain.set(|s| s.landed = None);
    let pumped = sender.pump().await.unwrap();
    assert!(matches!(pumped.changed[0].fate, Fate::Pushed { .. }));
}
