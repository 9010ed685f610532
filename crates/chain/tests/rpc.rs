//! The client against a node that misbehaves in every way a node was seen to.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod stub;

use chain::{
    ChainApi as _, ChainError, Fault,
    key::{KeyKind, LocalKey},
    params::PreCommitSector,
    rpc::{JsonRpc, NodeConfig},
};
use fvm_shared::{address::Address, econ::TokenAmount, message::Message};
use serde_json::json;
use streams::{
    id::{MinerId, SectorNumber},
    proof::{Bytes32, SealProof},
};
use stub::{Reply, Stub};

fn client(stub: &Stub) -> JsonRpc {
    let config =
        NodeConfig { endpoint: stub.url.clone(), timeout_secs: 1, answer_bytes_max: 10_000, ..NodeConfig::default() };
    JsonRpc::new(&config).unwrap()
}

async fn fault_of(reply: impl Fn() -> Reply + Send + 'static) -> ChainError {
    let stub = Stub::start(move |_| reply());
    let error = client(&stub).network_version(&vec![]).await.unwrap_err();
    assert_eq!(error.method, "Filecoin.StateNetworkVersion");
    assert!(error.to_string().contains(&stub.url), "{error}");
    error
}

#[tokio::test]
async fn a_call_sends_every_parameter_and_reads_its_own_answer() {
    let stub = Stub::start(|_| Reply::Result(json!(28)));
    assert_eq!(client(&stub).network_version(&vec![]).await.unwrap(), 28);
    let seen = stub.seen.lock().unwrap();
    assert_eq!(seen[0].body["params"], json!([[]]));
    assert_eq!(seen[0].body["jsonrpc"], "2.0");
    assert!(seen[0].headers.starts_with("post /rpc/v1 "));
    assert!(seen[0].headers.contains("x-venus-api-namespace: v1.fullnode"));
    assert!(!seen[0].headers.contains("authorization"));
}

#[tokio::test]
async fn a_token_is_read_from_its_file_and_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    host::durable::write_new_private(&token_file, b"s3cret\n").unwrap();
    let stub = Stub::start(|_| Reply::Error(1, "no"));
    let config = NodeConfig { endpoint: stub.url.clone(), token_file: Some(token_file), ..NodeConfig::default() };
    let client = JsonRpc::new(&config).unwrap();
    let error = client.head().await.unwrap_err();
    assert!(stub.seen.lock().unwrap()[0].headers.contains("authorization: bearer s3cret"));
    assert!(!format!("{error:?} {client:?}").contains("s3cret"));

    let missing = NodeConfig { token_file: Some(dir.path().join("none")), ..config };
    assert!(JsonRpc::new(&missing).unwrap_err().to_string().contains("none"));
}

#[tokio::test]
async fn another_requests_answer_is_refused() {
    for body in [&br#"{"jsonrpc":"2.0","id":4711,"result":28}"#[..], br#"{"result":28}"#, b"{\"id\":1,", b"<html>"] {
        let error = fault_of(move || Reply::Body(200, body.to_vec())).await;
        assert!(matches!(error.fault, Fault::BadAnswer(_)), "{error}");
        assert!(!error.is_retryable());
    }
    let error = fault_of(|| Reply::Result(json!("twenty-eight"))).await;
    assert!(matches!(error.fault, Fault::BadAnswer(_)), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    for reply in [|| Reply::Body(200, vec![b' '; 20_000]), || Reply::Endless(1 << 20)] {
        let error = fault_of(reply).await;
        assert_eq!(error.fault, Fault::TooLarge { limit_bytes: 10_000 });
    }
}

#[tokio::test]
async fn silence_and_no_connection_may_be_tried_again() {
    let error = fault_of(|| Reply::Silence).await;
    assert!(matches!(error.fault, Fault::Timeout(_)) && error.is_retryable(), "{error}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = NodeConfig { endpoint: format!("http://{nobody}"), ..NodeConfig::default() };
    let error = JsonRpc::new(&config).unwrap().head().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Transport(_)) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn refusals_have_classes() {
    assert!(fault_of(|| Reply::Error(-32601, "method not found")).await.is_method_missing());
    assert!(fault_of(|| Reply::Error(11, "resolve address")).await.is_not_found());
    let error = fault_of(|| Reply::Error(1, "message execution failed (exit=[SysErrInsufficientFunds(6)])")).await;
    assert_eq!(error.exit_code(), Some(6));
    let error = fault_of(|| Reply::Error(1, "missing permission to invoke 'MpoolPush'")).await;
    assert!(matches!(error.fault, Fault::Refused { code: 1, .. }) && !error.is_retryable());
    let error = fault_of(|| Reply::Body(401, b"JWT Verification failed".to_vec())).await;
    assert!(matches!(error.fault, Fault::Refused { code: 401, .. }), "{error}");
    let error =
        fault_of(|| Reply::Body(200, br#"{"id":null,"error":{"code":-32700,"message":"parse error"}}"#.to_vec()));
    assert!(matches!(error.await.fault, Fault::Refused { code: -32700, .. }));
}

#[tokio::test]
async fn a_node_that_lacks_a_method_is_asked_the_older_one() {
    let stub = Stub::start(|request| match request.method() {
        "Filecoin.StateMinerInitialPledgeForSector" => Reply::Error(-32601, "no"),
        "Filecoin.StateMinerInitialPledgeCollateral" => Reply::Result(json!("1100")),
        "Filecoin.ChainHead" => Reply::Result(json!({"Cids": [cid()], "Height": 7, "Blocks": [{
            "Miner": "t01000", "Ticket": null, "Parents": null, "Height": 7, "Timestamp": 9, "ParentBaseFee": "100",
            "ParentStateRoot": cid(), "ParentMessageReceipts": cid(), "Messages": cid(),
            "BeaconEntries": null, "WinPoStProof": null, "BLSAggregate": null, "BlockSig": null, "ElectionProof": null}]})),
        "Filecoin.StateMinerCreationDeposit" => Reply::Error(-32601, "no"),
        other => panic!("{other}"),
    });
    let client = client(&stub);
    let pledge = client.initial_pledge(MinerId(1000), 100, SealProof::Drg2KiBV1_1, 0, &vec![]).await.unwrap();
    assert_eq!(pledge.atto().to_string(), "1100");
    let asked = stub.seen.lock().unwrap().last().unwrap().body["params"].clone();
    assert_eq!(
        (&asked[0], &asked[1]["SealProof"], &asked[1]["Expiration"]),
        (&json!("f01000"), &json!(5), &json!(107))
    );
    assert_eq!(client.creation_deposit(&vec![]).await.unwrap(), None);
}

#[tokio::test]
async fn pushing_the_same_bytes_again_is_fine() {
    let key = LocalKey::from_bytes(KeyKind::Secp256k1, &[5; 32]).unwrap();
    let atto = TokenAmount::from_atto;
    let message = Message {
        version: 0,
        from: key.address(),
        to: Address::new_id(1000),
        sequence: 7,
        value: atto(0),
        method_num: 28,
        params: vec![0x80].into(),
        gas_limit: 9,
        gas_fee_cap: atto(2),
        gas_premium: atto(1),
    };
    let signed = key.sign_message(message).unwrap();
    let waits = "message from f1x with nonce 7 already in mpool: validation failure";
    let stub = Stub::start(move |_| Reply::Error(1, waits));
    assert_eq!(client(&stub).mpool_push(&signed.to_cbor().unwrap()).await.unwrap(), signed.cid().unwrap());
    let pushed = stub.seen.lock().unwrap()[0].body["params"][0].clone();
    assert_eq!((&pushed["Message"]["Nonce"], &pushed["Signature"]["Type"]), (&json!(7), &json!(1)));

    let stub = Stub::start(|_| Reply::Error(1, "minimum expected nonce is 8: message nonce too low"));
    let error = client(&stub).mpool_push(&signed.to_cbor().unwrap()).await.unwrap_err();
    assert!(matches!(error.fault, Fault::NonceTooLow(_)), "{error}");
}

#[tokio::test]
async fn absence_is_an_answer_however_a_node_says_it() {
    for reply in [|| Reply::Result(json!(null)), || Reply::Error(1, "sector not found")] {
        let stub = Stub::start(move |_| reply());
        let client = client(&stub);
        let (miner, number) = (MinerId(1000), SectorNumber(9));
        assert_eq!(client.pre_commit(miner, number, &vec![]).await.unwrap(), None);
        assert_eq!(client.sector(miner, number, &vec![]).await.unwrap(), None);
        assert_eq!(client.sector_location(miner, number, &vec![]).await.unwrap(), None);
        assert!(client.actor(&chain::address::of_miner(miner), &vec![]).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn values_travel_in_the_nodes_encodings() {
    let stub = Stub::start(|request| match request.method() {
        "Filecoin.StateGetRandomnessFromTickets" => {
            Reply::Result(json!("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="))
        }
        "Filecoin.StateGetRandomnessFromBeacon" => Reply::Result(json!("BwcH")),
        "Filecoin.StateMinerPreCommitDepositForPower" => Reply::Result(json!("5")),
        other => panic!("{other}"),
    });
    let client = client(&stub);
    let entropy = chain::randomness::entropy(MinerId(1000));
    let drawn = client.randomness_from_tickets(5, 10_101, &entropy, &vec![]).await.unwrap();
    assert_eq!(drawn, Bytes32([7; 32]));
    let short = client.randomness_from_beacon(6, 10_101, &entropy, &vec![]).await.unwrap_err();
    assert!(matches!(short.fault, Fault::BadAnswer(_)));

    let sector = PreCommitSector {
        number: SectorNumber(9),
        proof: SealProof::Drg2KiBV1_1,
        comm_r: Bytes32([1; 32]),
        comm_d: None,
        ticket_epoch: -3,
        expiration: 2,
    };
    client.pre_commit_deposit(MinerId(1000), &sector.info().unwrap(), &vec![]).await.unwrap();
    let seen = stub.seen.lock().unwrap();
    assert_eq!(seen[0].body["params"], json!([5, 10_101, "QwDoBw==", []]));
    let info = &seen[2].body["params"][1];
    assert_eq!(
        (&info["DealIDs"], &info["UnsealedCid"], &info["SealRandEpoch"]),
        (&json!([]), &json!(null), &json!(-3))
    );
}

fn cid() -> serde_json::Value {
    json!({"/": "bafy2bzacecnamqgqmifpluoeldx7zzglxcljo6oja4vrmtj7432rphldpdmm2"})
}
