//! The mempool and plain messages: nonces, signatures, funds, fees, receipts.

use fvm_shared::{address::Address, econ::TokenAmount};
use serde_json::json;

use crate::{
    node::Node,
    wallet::{Wallet, unsigned, whole},
};

#[tokio::test]
async fn a_send_moves_funds_and_creates_the_account_it_goes_to() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::bls();
    let new = Address::new_secp256k1(&[4; 65]).unwrap();
    let text = chain::address::print(&new);
    assert_eq!(node.get("WalletBalance", json!([text])).await, "0");
    let (code, words) = node.ask("StateLookupID", json!([text, []])).await.unwrap_err();
    assert_eq!(code, 11, "{words}");

    let cid = node.get("MpoolPush", json!([wallet.sign(wallet.message(new, 0, 0, whole(5), vec![]))])).await;
    assert_eq!(node.get("StateSearchMsg", json!([[], cid, -1, true])).await, json!(null), "not in a block yet");
    node.advance(1).await;
    assert_eq!(node.get("StateSearchMsg", json!([[], cid, -1, true])).await, json!(null), "not executed yet");
    node.advance(1).await;
    let found = node.get("StateSearchMsg", json!([[], cid, -1, true])).await;
    assert_eq!((&found["Receipt"]["ExitCode"], &found["Height"]), (&json!(0), &json!(2)));
    assert_eq!(found["TipSet"], node.get("ChainHead", json!([])).await["Cids"]);
    assert_eq!(node.get("WalletBalance", json!([text])).await, whole(5).atto().to_string());
    let id = node.get("StateLookupID", json!([text, []])).await;
    assert_eq!(node.get("StateAccountKey", json!([id, []])).await, text.as_str());
    assert_eq!(node.get("MpoolGetNonce", json!([wallet.text()])).await, 1);
}

#[tokio::test]
async fn a_nonce_that_was_used_is_refused_in_lotus_words() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    let to = Wallet::bls().address();
    assert_eq!(node.exit_code(wallet.send(to, 0, 0, vec![])).await, 0);
    let (code, words) = node.ask("MpoolPush", json!([wallet.send(to, 0, 0, vec![])])).await.unwrap_err();
    assert_eq!((code, words.as_str()), (1, "minimum expected nonce is 1: message nonce too low"));
}

#[tokio::test]
async fn a_message_behind_a_gap_waits_until_it_is_filled() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    let to = Wallet::bls().address();
    let late = node.get("MpoolPush", json!([wallet.send(to, 1, 0, vec![])])).await;
    assert_eq!(node.get("MpoolGetNonce", json!([wallet.text()])).await, 0);
    node.advance(3).await;
    assert_eq!(node.get("StateSearchMsg", json!([[], late, -1, true])).await, json!(null));
    node.get("MpoolPush", json!([wallet.send(to, 0, 0, vec![])])).await;
    assert_eq!(node.get("MpoolGetNonce", json!([wallet.text()])).await, 2);
    assert_eq!(node.receipt(&late).await["ExitCode"], 0);
}

#[tokio::test]
async fn a_signature_by_another_key_or_over_another_message_is_refused() {
    let node = Node::that_says(false).await;
    let to = Address::new_id(100);
    for (wallet, words) in
        [(Wallet::secp(), "signature did not match"), (Wallet::bls(), "bls signature failed to verify")]
    {
        let mut signed = wallet.send(to, 0, 0, vec![]);
        signed["Message"]["Value"] = json!("1");
        assert_eq!(node.ask("MpoolPush", json!([signed])).await.unwrap_err(), (1, words.to_owned()));
    }
}

#[tokio::test]
async fn a_waiting_message_is_replaced_only_for_a_quarter_more() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    let message = wallet.message(Wallet::bls().address(), 0, 0, whole(1), vec![]);
    let first = node.get("MpoolPush", json!([wallet.sign(message.clone())])).await;
    let (_, words) = node.ask("MpoolPush", json!([wallet.sign(message.clone())])).await.unwrap_err();
    assert!(words.contains("already in mpool: validation failure"), "{words}");

    let mut dearer = message;
    dearer.gas_premium = TokenAmount::from_atto(110_000);
    let (_, words) = node.ask("MpoolPush", json!([wallet.sign(dearer.clone())])).await.unwrap_err();
    assert!(words.ends_with("replace by fee has too low GasPremium"), "{words}");
    dearer.gas_premium = TokenAmount::from_atto(130_000);
    let second = node.get("MpoolPush", json!([wallet.sign(dearer)])).await;
    node.advance(2).await;
    let found = node.get("StateSearchMsg", json!([[], first, -1, true])).await;
    assert_eq!(found["Message"], second, "the first is found as the one that replaced it");
    assert_eq!(node.get("StateSearchMsg", json!([[], first, -1, false])).await, json!(null));
}

#[tokio::test]
async fn what_the_sender_cannot_pay_is_refused() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    let message = wallet.message(Wallet::bls().address(), 0, 0, whole(2_000), vec![]);
    let (code, words) = node.ask("MpoolPush", json!([wallet.sign(message.clone())])).await.unwrap_err();
    assert_eq!(code, 1);
    assert!(words.ends_with("not enough funds to execute transaction"), "{words}");
    let mut estimated = message;
    estimated.gas_limit = 0;
    let (code, words) = node.ask("GasEstimateMessageGas", json!([unsigned(&estimated), null, []])).await.unwrap_err();
    assert_eq!(code, 3);
    assert!(words.contains("message execution failed (exit=[SysErrInsufficientFunds(6)]"), "{words}");
}

#[tokio::test]
async fn an_estimate_is_enough_and_the_fee_is_what_was_used() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    let mut message = wallet.message(Wallet::bls().address(), 0, 0, whole(1), vec![]);
    message.gas_limit = 0;
    message.gas_fee_cap = TokenAmount::default();
    message.gas_premium = TokenAmount::default();
    let filled = node.get("GasEstimateMessageGas", json!([unsigned(&message), {"MaxFee": "0"}, []])).await;
    let filled: chain::wire::MessageJson = serde_json::from_value(filled).unwrap();
    let message = filled.into_message().unwrap();
    let cid = node.get("MpoolPush", json!([wallet.sign(message.clone())])).await;
    let receipt = node.receipt(&cid).await;
    assert_eq!(receipt["ExitCode"], 0);
    let used = receipt["GasUsed"].as_u64().unwrap();
    let fee = TokenAmount::from_atto(100) * used + &message.gas_premium * message.gas_limit;
    let left = whole(1_000) - whole(1) - fee;
    assert_eq!(node.get("WalletBalance", json!([wallet.text()])).await, left.atto().to_string());
}

#[tokio::test]
async fn too_little_gas_is_exit_code_7_and_no_method_is_22() {
    let node = Node::that_says(false).await;
    let wallet = Wallet::secp();
    let to = Wallet::bls().address();
    let mut poor = wallet.message(to, 0, 0, whole(1), vec![]);
    poor.gas_limit = 200_000;
    assert_eq!(node.exit_code(wallet.sign(poor)).await, 7);
    assert_eq!(node.exit_code(wallet.send(to, 1, 5, vec![])).await, 22);
    assert_eq!(node.exit_code(wallet.send(Address::new_id(777), 2, 0, vec![])).await, 5);
}
