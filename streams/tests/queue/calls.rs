//! Questions and answers.

use std::time::Duration;

use futures::StreamExt as _;
use streams::{
    call::AskError,
    control::{Info, InfoRequest, SubmitRequest},
    error::QueueError,
    id::MinerId,
    testing::TestServer,
};

use crate::fixture::SOON;

fn info() -> Info {
    Info {
        http: "http://127.0.0.1:8080".to_owned(),
        network: "devnet".to_owned(),
        miners: vec![MinerId(1000)],
        proofs: vec![streams::proof::SealProof::Drg2KiBV1_1],
        epoch: 130,
    }
}

#[tokio::test]
async fn a_question_is_answered_or_refused_in_words() {
    let server = TestServer::start().await;
    let (asker, daemon) = (server.connect().await, server.connect().await);
    let mut calls = daemon.serve("ctl.coordinator.*").await.unwrap();
    let serving = async {
        let call = calls.next().await.unwrap();
        assert_eq!(call.verb(), "info");
        call.decode::<InfoRequest>().unwrap();
        call.answer(&info()).await.unwrap();
        let call = calls.next().await.unwrap();
        assert_eq!(call.verb(), "submit");
        assert_eq!(call.decode::<SubmitRequest>().unwrap().count, 2);
        call.refuse("miner f01000 is not managed here", Some("add it to coordinator.toml")).await.unwrap();
    };
    let asking = async {
        assert_eq!(asker.ask(&InfoRequest {}, SOON).await.unwrap(), info());
        let submit = SubmitRequest { miner: MinerId(1000), count: 2, pieces: Vec::new() };
        let error = asker.ask(&submit, SOON).await.unwrap_err();
        assert_eq!(error.to_string(), "miner f01000 is not managed here");
        assert_eq!(error.hint().as_deref(), Some("add it to coordinator.toml"));
    };
    tokio::join!(serving, asking);
}

#[tokio::test]
async fn nobody_and_too_late_are_told_apart() {
    let server = TestServer::start().await;
    let (asker, daemon) = (server.connect().await, server.connect().await);
    let error = asker.ask(&InfoRequest {}, SOON).await.unwrap_err();
    assert!(matches!(error, AskError::NobodyAnswers { .. }), "{error}");
    let calls = daemon.serve("ctl.coordinator.*").await.unwrap();
    let error = asker.ask(&InfoRequest {}, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, AskError::TimedOut { .. }), "{error}");
    calls.close().await;
    let error = asker.ask(&InfoRequest {}, SOON).await.unwrap_err();
    assert!(matches!(error, AskError::NobodyAnswers { .. }), "a daemon that stopped is not waited for: {error}");
}

#[tokio::test]
async fn whoever_serves_is_listed_by_nats_micro() {
    let server = TestServer::start().await;
    let (looker, daemon) = (server.connect().await, server.connect().await);
    let _calls = daemon.serve("ctl.agent.host1-gpu.*").await.unwrap();
    let inbox = looker.client().new_inbox();
    let mut answers = looker.client().subscribe(inbox.clone()).await.unwrap();
    looker.client().publish_with_reply("$SRV.INFO", inbox, "".into()).await.unwrap();
    let answer = tokio::time::timeout(SOON, answers.next()).await.unwrap().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(info["name"], "sealstream-agent");
    assert_eq!(info["metadata"]["agent"], "host1-gpu");
    assert_eq!(info["endpoints"][0]["subject"], "ctl.agent.host1-gpu.*");
}

#[tokio::test]
async fn a_request_of_another_version_is_refused_by_name() {
    let server = TestServer::start().await;
    let (asker, daemon) = (server.connect().await, server.connect().await);
    let mut calls = daemon.serve("ctl.coordinator.*").await.unwrap();
    asker.client().publish("ctl.coordinator.info", r#"{"v":9}"#.into()).await.unwrap();
    let call = tokio::time::timeout(SOON, calls.next()).await.unwrap().unwrap();
    let error = call.decode::<InfoRequest>().unwrap_err();
    let QueueError::Text { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("version 9"), "{source}");
}
