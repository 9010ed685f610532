//! What is created, and what is reported when it differs.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::PullConsumer,
    stream::{Config, StorageType},
};
use futures::{StreamExt as _, TryStreamExt as _};
use streams::{
    layout::{LayoutOptions, ensure, ensure_class},
    report::consumer_report,
    stage::Class,
    subject::Whither,
    testing::TestServer,
};

use crate::fixture::*;

fn options() -> LayoutOptions {
    LayoutOptions { replicas: 1, ack_wait: Duration::from_secs(60) }
}

#[tokio::test]
async fn a_fresh_server_gets_everything_and_a_second_run_finds_no_drift() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    assert_eq!(ensure(&nats, &options()).await.unwrap(), []);
    assert_eq!(ensure(&nats, &options()).await.unwrap(), [], "what the server stores is what was asked for");
    let rows = streams::report::stream_report(&nats).await.unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.stream.as_str()).collect();
    assert_eq!(
        names,
        [
            "EVENTS",
            "KV_AGENTS",
            "KV_CHAIN",
            "KV_CLAIMS",
            "KV_CLUSTER",
            "KV_LEASES",
            "KV_LOCKS",
            "KV_MESSAGES",
            "KV_NUMBERS",
            "KV_POSTS",
            "KV_SECTORS",
            "KV_STORES",
            "OBJ_ARTIFACTS",
            "POST_RESULTS",
            "POST_TASKS",
            "RESULTS",
            "TASKS",
        ]
    );
    assert!(rows.iter().all(|row| row.storage == "file" && row.replicas == 1));
    let rows = consumer_report(&nats, "TASKS").await.unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.consumer.as_str()).collect();
    assert_eq!(names, ["c2-gpu", "io", "pc1-cpu", "pc2-gpu"]);
    assert!(rows.iter().all(|row| row.ack_wait == Duration::from_secs(60)));
}

#[tokio::test]
async fn two_coordinators_that_start_at_once_do_not_disturb_each_other() {
    let server = TestServer::start().await;
    let (a, b) = (server.connect().await, server.connect().await);
    let options = options();
    let (a, b) = tokio::join!(ensure(&a, &options), ensure(&b, &options));
    assert_eq!((a.unwrap(), b.unwrap()), (vec![], vec![]));
}

#[tokio::test]
async fn an_edited_stream_is_reported_and_left_alone() {
    let (_server, nats) = server_with(Duration::from_secs(60)).await;
    let mut edited = nats.jetstream().get_stream("TASKS").await.unwrap().cached_info().config.clone();
    edited.max_messages_per_subject = 5;
    nats.jetstream().update_stream(&edited).await.unwrap();
    for _ in 0..2 {
        let drift: Vec<String> = ensure(&nats, &options()).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(drift, ["stream TASKS: max_msgs_per_subject is 5, want 1"]);
    }
}

#[tokio::test]
async fn a_stream_that_acknowledges_before_it_syncs_is_reported() {
    let server = TestServer::start().await;
    let nats = server.connect().await;
    let hasty = serde_json::json!({
        "name": "EVENTS", "subjects": ["ev.>"], "storage": "file", "retention": "limits", "num_replicas": 1,
        "persist_mode": "async",
    });
    let config: Config = serde_json::from_value(serde_json::json!({
        "name": "x", "storage": "memory", "retention": "limits", "num_replicas": 1, "discard": "old"
    }))
    .unwrap();
    assert_eq!(config.storage, StorageType::Memory);
    let answer = nats.client().request("$JS.API.STREAM.CREATE.EVENTS", hasty.to_string().into()).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer.payload).contains("error"), "{answer:?}");
    let drift = ensure(&nats, &options()).await.unwrap();
    assert!(drift.iter().any(|drift| drift.of == "stream EVENTS" && drift.setting == "persist_mode"), "{drift:?}");
}

#[tokio::test]
async fn an_edited_consumer_is_reported() {
    let (_server, nats) = server_with(Duration::from_secs(60)).await;
    let drift = ensure(&nats, &LayoutOptions { replicas: 1, ack_wait: Duration::from_secs(30) }).await.unwrap();
    let words: Vec<String> = drift.iter().map(ToString::to_string).collect();
    assert!(words.contains(&"consumer pc1-cpu of stream TASKS: ack_wait is 60s, want 30s".to_owned()), "{words:?}");
    assert_eq!(words.len(), 8, "every consumer says so: {words:?}");
}

#[tokio::test]
async fn thresholds_are_where_nats_server_check_looks() {
    let (_server, nats) = server().await;
    let stream = nats.jetstream().get_stream("TASKS").await.unwrap();
    let metadata = &stream.cached_info().config.metadata;
    assert_eq!(metadata.get("io.nats.monitor.enabled").map(String::as_str), Some("true"));
    let number = |key: &str| metadata.get(key).unwrap().parse::<u64>().unwrap();
    // Above the warning the check is "too many"; the other way round it would be "too few".
    assert!(number("io.nats.monitor.subjects-warn") < number("io.nats.monitor.subjects-critical"));
    assert!(!metadata.contains_key("io.nats.monitor.peer-expect"), "one server has no peers: the check would fail");
    let consumer: PullConsumer = stream.get_consumer("pc2-gpu").await.unwrap();
    let metadata = &consumer.cached_info().config.metadata;
    assert_eq!(metadata.get("io.nats.monitor.enabled").map(String::as_str), Some("true"));
    assert!(metadata.get("io.nats.monitor.redelivery-critical").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(metadata.get("class").map(String::as_str), Some("pc2-gpu"));
}

#[tokio::test]
async fn a_stream_takes_more_consumers_than_the_servers_default() {
    const DEFAULT: usize = 1_000;
    let (_server, nats) = server_with(SOON).await;
    let create = async |number: usize| {
        let place = Whither::At(format!("host{number}").parse().unwrap());
        ensure_class(&nats, Class::Pc2Gpu, &place, SOON).await
    };
    let created = futures::stream::iter(0..DEFAULT + 5).map(create).buffer_unordered(16);
    created.try_collect::<()>().await.unwrap();
    let consumers = consumer_report(&nats, "TASKS").await.unwrap().len();
    assert_eq!(consumers, DEFAULT + 5 + 4, "every page of the report is there");
}
