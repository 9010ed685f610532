//! What an agent is told by its configuration, before it starts and while it runs.

use std::{fs, time::Duration};

use rustix::process::Signal;
use streams::stage::Stage;

use crate::{
    cluster::{Cluster, wait_for},
    ends::{PC1, hanging, waiting_for_tree_d},
    host_files::{Agent, Host},
};

async fn says(agent: &Agent, words: &[&str]) {
    wait_for(async || match words.iter().find(|word| !agent.log().contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("it did not say \"{word}\"")),
    })
    .await;
}

#[test]
fn every_setting_is_shown_with_its_origin_and_no_password() {
    let host = Host::bare();
    host.configure("name = \"a1\"\n[classes.pc1-cpu]\n\nslots = 3\n");
    let file = host.path("home/agent.toml").display().to_string();
    let text = host.succeeds(&["config", "show", "--nats", "nats://agent:CANARY@q:4222"]);
    let line = |key: &str| {
        let found = text.lines().find(|line| line.split_whitespace().next() == Some(key));
        found.unwrap_or_else(|| panic!("no {key} in\n{text}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("name"), format!("name \"a1\" {file}:1"));
    assert_eq!(line("classes.pc1-cpu.slots"), format!("classes.pc1-cpu.slots 3 {file}:4"));
    assert_eq!(line("heartbeat"), "heartbeat \"1s\" environment variable SEALSTREAM_AGENT_HEARTBEAT");
    assert_eq!(line("nats.url"), "nats.url \"nats://agent:***@q:4222\" command line");
    assert_eq!(line("keep_free_bytes"), "keep_free_bytes 67108864 default");
    assert_eq!(line("place"), "place unset default");
    let json: serde_json::Value = serde_json::from_str(&host.succeeds(&["config", "show", "-o", "json"])).unwrap();
    let slots = json.as_array().unwrap().iter().find(|setting| setting["key"] == "classes.pc1-cpu.slots").unwrap();
    assert_eq!(slots["value"], 3);
    assert_eq!(slots["origin"], serde_json::json!({ "is": "file", "path": file, "line": 4 }));
    host.configure("[clases.pc1-cpu]\nslots = 3\n");
    let (code, words) = host.fails(&["config", "show"]);
    assert_eq!(code, 78);
    assert!(words.contains(&format!("{file}:2: did you mean `classes")), "{words}");
}

#[test]
fn another_workers_configuration_becomes_ours() {
    let host = Host::bare();
    let theirs = host.path("venus-worker.toml");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/src/import/venus-worker.toml");
    fs::copy(sample, &theirs).unwrap();
    let output = host.command(&["config", "import", theirs.to_str().unwrap()]);
    assert!(output.status.success());
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("there is no table [cessors]") && notes.contains("read as [processors]"), "{notes}");
    let ours = host.path("imported.toml");
    host::durable::write(&ours, &output.stdout).unwrap();
    let text = host.succeeds(&["config", "show", "--config", ours.to_str().unwrap(), "-o", "csv"]);
    assert!(text.contains("classes.pc2-gpu.slots,1,") && text.contains("path/to/remote/store"), "{text}");
    let (code, words) = host.fails(&["config", "import", host.path("none.toml").to_str().unwrap()]);
    assert!(code == 66 && words.contains("none.toml"), "{words}");
}

#[tokio::test]
async fn what_can_change_while_it_runs_does_and_the_rest_is_named() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let first = waiting_for_tree_d(&cluster, &host, 1).await;
    let second = waiting_for_tree_d(&cluster, &host, 2).await;
    let prover = format!("prover = \"{}\"\n", host.hanging("tree-d").display());
    host.configure(&format!("{prover}[classes.io]\nslots = 1\n"));
    let agent = host.agent(cluster.server.url(), "a", PC1);
    cluster.order(first.id, Stage::TreeD, None).await;
    cluster.order(second.id, Stage::TreeD, None).await;
    hanging(&host, 1).await;

    host.configure(&format!(
        "{prover}log = \"debug\"\nkeep_free_bytes = 1\n[classes.io]\nslots = 2\ntime_limit = \"1h\"\n"
    ));
    hanging(&host, 2).await;
    says(&agent, &["the class has other slots", "RUST_LOG is set, and wins", "holds for provers that start"]).await;
    let log = agent.log();
    let restart = log.lines().find(|line| line.contains("needs a restart")).unwrap();
    assert!(restart.contains("keep_free_bytes") && restart.contains("67108864"), "{restart}");
    wait_for(async || {
        let record = cluster.agents.get("a").await.unwrap().ok_or("no heartbeat")?.value;
        let io = record.classes.into_iter().find(|class| class.class == streams::stage::Class::Io).ok_or("no io")?;
        if (io.slots, io.used) == (2, 2) { Ok(()) } else { Err(format!("{io:?}")) }
    })
    .await;

    host.configure("classes = 1\n");
    says(&agent, &["the configuration is not taken, the one before holds"]).await;
    host.configure(&format!(
        "{prover}log = \"debug\"\nkeep_free_bytes = 1\n[classes.io]\nslots = 2\ntime_limit = \"1h\"\n"
    ));
    agent.signal(Signal::HUP);
    says(&agent, &["the configuration is as it was"]).await;
    host.release();
    host.release();
    assert!(agent.terminate().success());
}
