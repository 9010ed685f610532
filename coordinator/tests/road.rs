//! The whole road on real parts, with an accident: real nats-server, real proofs, the devnet, child processes.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "road/bucket.rs"]
mod bucket;
#[path = "road/cluster.rs"]
mod cluster;
#[expect(dead_code, reason = "faults are for the tests within the crate")]
mod s3;

use std::time::Duration;

use cluster::{Cluster, wait_for};
use serde_json::Value;

/// Shorter than the default of 60 s, so that the test need not wait a minute for the queue to notice.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// What may pass between the queue offering a task again and an agent starting it.
const PICK_UP: Duration = Duration::from_secs(8);
/// A 2 KiB C2 takes about a minute on two cores, and the killed agent's child competes with its successor.
const PROVING_WITHIN: Duration = Duration::from_secs(600);

#[test]
fn an_agent_killed_in_c2_costs_neither_its_work_nor_the_sector() {
    let cluster = Cluster::start(&[("SEALSTREAM_COORDINATOR_QUEUE__ACK_WAIT", "10s")]);
    let submitted = cluster.answer(&["submit", "--miner", &cluster.miner(), "--count", "1"]);
    let sector = submitted["sectors"][0].as_str().expect("a sector").to_owned();

    let victim = wait_for("an agent at C2", PROVING_WITHIN, || {
        let agents = cluster.answer(&["agents", "list"]);
        at_c2(&agents).ok_or_else(|| agents.to_string())
    });
    let rescuer = cluster.spawn("sealer-agent", &["--name", "rescuer", "--class", "c2-gpu"]);
    wait_for("the second agent", Duration::from_secs(30), || {
        let agents = cluster.answer(&["agents", "list"]);
        let there = agents.as_array().is_some_and(|all| all.iter().any(|a| a["agent"] == "rescuer"));
        if there { Ok(()) } else { Err(agents.to_string()) }
    });
    cluster::kill9(victim);
    wait_for("the rescuer at C2", ACK_WAIT + PICK_UP, || {
        let agents = cluster.answer(&["agents", "list"]);
        let is_at_c2 = at_c2_of(&agents, "rescuer").is_some();
        if is_at_c2 { Ok(()) } else { Err(agents.to_string()) }
    });

    let record = wait_for("the sector to be proving", PROVING_WITHIN, || {
        let record = cluster.answer(&["sectors", "show", &sector]);
        let state = record["state"]["is"].as_str().unwrap_or_default().to_owned();
        assert_ne!(state, "parked", "{record}");
        if state == "proving" { Ok(record) } else { Err(format!("{state}: {record}")) }
    });
    let c2 =
        record["story"].as_array().unwrap().iter().find(|run| run["stage"] == "c2").expect("a finished C2").clone();
    assert_eq!(c2["agent"], "rescuer", "{c2}");
    // The prover outlived its agent: another agent of the host took its work over, and no attempt was lost.
    assert_eq!(c2["attempt"], 1, "{c2}");
    drop(rescuer);
}

#[test]
fn what_cannot_be_sealed_is_refused_by_name_and_leaves_nothing() {
    let cluster = Cluster::start(&[]);
    let miner = cluster.miner();
    let large = cluster.dir().join("large.bin");
    std::fs::File::create(&large).unwrap().set_len(2033).unwrap();
    let large_text = large.display().to_string();

    let talk = cluster.refusal(&["submit", "--miner", &miner, &large_text]);
    for word in ["large.bin", "2033", "2032"] {
        assert!(talk.contains(word), "{talk}");
    }
    let talk = cluster.refusal(&["submit", "--miner", "f0999999", "--count", "1"]);
    assert!(talk.contains("f0999999") && talk.contains("hint:"), "{talk}");
    let talk = cluster.refusal(&["submit", "--miner", &miner, "/no/such/file"]);
    assert!(talk.contains("/no/such/file"), "{talk}");
    let talk = cluster.refusal(&["sectors", "show", "f01000/77777"]);
    assert!(talk.contains("f01000/77777"), "{talk}");

    assert_eq!(cluster.answer(&["sectors", "list"]), Value::Array(Vec::new()));
    let pieces = cluster.home().join("coordinator").join("pieces");
    let left: Vec<_> =
        std::fs::read_dir(&pieces).map(|dir| dir.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    assert_eq!(left, Vec::<std::path::PathBuf>::new(), "nothing of a refused file is kept");
}

/// The process of an agent that runs C2.
fn at_c2(agents: &Value) -> Option<u64> {
    let agent = agents.as_array()?.iter().find(|agent| is_at_c2(agent))?;
    agent["pid"].as_u64()
}

/// The same, of one agent.
fn at_c2_of(agents: &Value, name: &str) -> Option<u64> {
    let agent = agents.as_array()?.iter().find(|agent| agent["agent"] == name && is_at_c2(agent))?;
    agent["pid"].as_u64()
}

fn is_at_c2(agent: &Value) -> bool {
    let jobs = agent["jobs"].as_array();
    jobs.is_some_and(|jobs| jobs.iter().any(|job| job["what"]["stage"] == "c2"))
}
