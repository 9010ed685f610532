//! What a person does wrong, and what the program says.

use std::{fs, time::Duration};

use streams::testing::TestServer;

use crate::{
    cluster::{Cluster, wait_for},
    host_files::Host,
};

#[test]
fn stores_are_made_and_listed() {
    let host = Host::with_stores();
    let listed: serde_json::Value = serde_json::from_str(&host.succeeds(&["store", "list", "-o", "json"])).unwrap();
    let kinds: Vec<_> = listed.as_array().unwrap().iter().map(|line| (&line["kind"], &line["state"])).collect();
    assert_eq!(kinds, [(&"local".into(), &"ok".into()), (&"persistent".into(), &"ok".into())]);
    assert_eq!(host.succeeds(&["jobs", "-o", "json"]).trim(), "[]");
}

#[test]
fn a_folder_with_data_or_a_store_does_not_become_one() {
    let host = Host::with_stores();
    let (_, words) = host.fails(&["store", "init", &host.path("local").display().to_string()]);
    assert!(words.contains("is a store already"), "{words}");
    fs::create_dir_all(host.path("photos/2024")).unwrap();
    let (_, words) = host.fails(&["store", "init", &host.path("photos").display().to_string()]);
    assert!(words.contains("is not empty and no store"), "{words}");
    assert_eq!(fs::read_dir(host.path("photos")).unwrap().count(), 1);
}

#[test]
fn a_path_where_no_store_ever_was_is_told_with_the_command_that_makes_one() {
    let host = Host::with_stores();
    let nowhere = host.path("nowhere").display().to_string();
    let (code, words) = host.fails(&["--class", "pc1-cpu", "--store", &nowhere]);
    assert_eq!(code, 66);
    let command = format!("sealer-agent store init {nowhere}");
    assert!(words.contains("is not an initialised store") && words.contains(&command), "{words}");
    fs::remove_dir_all(host.path("kept")).unwrap();
    assert!(host.succeeds(&["store", "list"]).contains("missing"));
}

#[test]
fn wrong_words_are_told_apart() {
    let host = Host::bare();
    let (code, words) = host.fails(&["--class", "pc2-cpu"]);
    assert_eq!(code, 2);
    assert!(words.contains("unknown class \"pc2-cpu\": the classes are pc1-cpu"), "{words}");
    let (_, words) = host.fails(&["run"]);
    assert!(words.contains("no class to serve"), "{words}");
    let (_, words) = host.fails(&["--class", "pc1-cpu"]);
    assert!(words.contains("no local store") && words.contains("sealer-agent store init PATH"), "{words}");
    host.configure("heartbeet = \"20s\"\n");
    let (code, words) = host.fails(&["--class", "c2-gpu"]);
    assert_eq!(code, 78);
    assert!(words.contains("heartbeet") && words.contains("heartbeat"), "{words}");
    host.configure("[classes.pc2-cpu]\nslots = 1\n");
    let (_, words) = host.fails(&["--class", "c2-gpu"]);
    assert!(words.contains("pc2-cpu"), "{words}");
}

#[test]
fn an_absent_server_is_told() {
    let host = Host::bare();
    host.configure("[nats]\nurl = \"nats://127.0.0.1:1\"\nconnect_timeout = \"1s\"\n");
    let (code, words) = host.fails(&["--class", "c2-gpu"]);
    assert_eq!(code, 69);
    assert!(words.contains("nats://127.0.0.1:1") && words.contains("hint:"), "{words}");
}

#[tokio::test]
async fn an_empty_server_is_told_after_a_while() {
    let host = Host::bare();
    let server = TestServer::start().await;
    host.configure("[nats]\nlayout_wait = \"10ms\"\n");
    let (code, words) = host.fails(&["--class", "c2-gpu", "--nats", server.url()]);
    assert_eq!(code, 69);
    assert!(words.contains("does not exist") && words.contains("coordinator"), "{words}");
}

#[tokio::test]
async fn a_name_runs_once_and_a_default_name_finds_another() {
    let host = Host::bare();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let beats = async |name: &'static str| {
        wait_for(async || cluster.agents.get(name).await.unwrap().ok_or_else(|| format!("no heartbeat of {name}")))
            .await
    };
    let first = host.nameless_agent(cluster.server.url(), "first", &["--class", "c2-gpu"]);
    beats("here-c2-gpu").await;
    let (code, words) =
        host.fails(&["run", "--nats", cluster.server.url(), "--name", "here-c2-gpu", "--class", "c2-gpu"]);
    assert_eq!(code, 75);
    assert!(words.contains("agent here-c2-gpu is running on this host already"), "{words}");
    let second = host.nameless_agent(cluster.server.url(), "second", &["--class", "c2-gpu"]);
    beats("here-c2-gpu-2").await;
    assert!(first.terminate().success() && second.terminate().success());
}
