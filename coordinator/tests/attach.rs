//! A provider comes from lotus with a folder of sealed sectors: real nats-server, real files, real proofs, the devnet.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "provider/cluster.rs"]
#[expect(dead_code, reason = "deaths at failpoints are for programs that have some")]
mod cluster;
#[path = "provider/folder.rs"]
mod folder;

use std::collections::BTreeMap;

use cluster::{Beginning, Cluster, LIMIT};
use folder::{Folder, PROOF, sector};
use prover::params::{Circuit, devnet_folder, ensure, folder_in_use};
use serde_json::Value;
use streams::testing::wait_for;

/// Two proving periods of the fast chain, and some.
const EPOCHS_MAX: i64 = 250;
const LEFT_OUT: Option<i32> = Some(65);

/// What the command says of each sector: its verdict, and why.
fn said(answer: &Value) -> BTreeMap<String, (String, String)> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let rows = answer.as_array().unwrap().iter();
    rows.map(|row| (text(row, "sector"), (text(row, "verdict"), text(row, "because")))).collect()
}

fn verdict(said: &BTreeMap<String, (String, String)>, number: u64) -> (&str, &str) {
    let (verdict, because) = &said[&sector(number).to_string()];
    (verdict, because)
}

/// Sectors 1 and 2 are the miner's and here, 2 with a byte that changed; 3 is the miner's and has 1's files; 4 is of
/// nobody; 5 was updated.
async fn arrived(root: &std::path::Path) -> (Folder, Cluster) {
    let parameters = devnet_folder().unwrap();
    assert_eq!(folder_in_use(), parameters, "set FIL_PROOFS_PARAMETER_CACHE to the devnet parameters");
    ensure(PROOF, &[Circuit::WindowPost], &parameters, |_| {}).unwrap();
    let folder = Folder::new(root);
    let sealed = [1, 2, 3].map(|number| (number, folder.seal(number)));
    for number in [3, 4, 5] {
        folder.copy(1, number);
    }
    folder.flip(2);
    folder.file("update/s-t01000-5", b"an update");
    folder.file("sealed/s-t01000-9.tmp", b"left over");
    let beginning = Beginning { proof: PROOF, sectors: &sealed, verifier: prover::verifier(), env: &[] };
    (folder, Cluster::start(root, &beginning).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_lotus_is_taken_over_and_proven_from_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    let (folder, mut cluster) = arrived(root.path()).await;
    let coordinator = cluster.coordinator().await;
    let path = folder.path.display().to_string();
    let before = folder.digests();
    let attach = ["store", "attach", &path];

    let (code, answer, talk) = cluster.ask("sealer-agent", &[&attach[..], &["--dry-run"]].concat());
    let dry = said(&answer);
    assert_eq!((code, verdict(&dry, 1)), (LEFT_OUT, ("can be attached", "")), "{talk}");
    assert!(talk.contains("s-t01000-9.tmp") && talk.contains("nothing was changed"), "{talk}");
    let manifest = folder.at("manifests/s-t01000-1.json");
    assert!(!folder.at("sealstream-store.json").exists() && !manifest.exists(), "a dry run writes nothing");
    let (_, listed, _) = cluster.ask("coordinator", &["sectors", "list"]);
    assert_eq!(listed, Value::Array(Vec::new()));

    let (killed, prover) = cluster.hang_attaching(&path).await;
    killed.kill9();
    assert!(folder.at("sealstream-store.json").is_file() && !manifest.exists(), "it was killed before any was proven");
    let is_alive = || std::fs::read(format!("/proc/{prover}/cmdline")).is_ok_and(|line| !line.is_empty());
    assert!(is_alive(), "its prover outlived it");

    let (code, answer, talk) = cluster.ask("sealer-agent", &attach);
    assert!(!is_alive(), "what a killed run left working is ended");
    let done = said(&answer);
    assert_eq!((code, verdict(&done, 1)), (LEFT_OUT, ("attached", "")), "{talk}");
    for (number, why) in [
        (2, "the replica is not the one on chain"),
        (3, "the replica is not the one on chain"),
        (4, "the chain does not know it"),
        (5, "SnapDeals"),
    ] {
        let (verdict, because) = verdict(&done, number);
        assert!(verdict == "left out" && because.contains(why), "{number}: {verdict}: {because}");
    }
    assert!(talk.contains("5 sectors: 1 attached, 4 left out"), "{talk}");
    assert!(manifest.is_file() && !folder.at("manifests/s-t01000-2.json").exists());
    assert_eq!(folder.digests(), before, "the sectors' own files are only read");

    // What is mended is attached with the next run, and what is there is left as it is.
    folder.flip(2);
    let (code, answer, talk) = cluster.ask("sealer-agent", &attach);
    let again = said(&answer);
    assert_eq!((code, verdict(&again, 1).0, verdict(&again, 2).0), (LEFT_OUT, "attached before", "attached"), "{talk}");
    std::fs::remove_file(&manifest).unwrap();
    let (_, answer, talk) = cluster.ask("sealer-agent", &attach);
    assert_eq!(verdict(&said(&answer), 1).0, "attached before", "{talk}");
    assert!(manifest.is_file(), "a manifest that was lost is written again");

    let (_, record, _) = cluster.ask("coordinator", &["sectors", "show", "f01000/1"]);
    let state = &record["state"];
    assert_eq!((state["is"].as_str(), state["finalized"].as_bool()), (Some("proving"), Some(true)), "{record}");
    assert!(state["sealed"]["store"].is_string() && state["sealed"].get("ticket").is_none(), "{record}");
    let (_, submitted, _) = cluster.ask("coordinator", &["submit", "--miner", "f01000", "--count", "1"]);
    assert_eq!(submitted["sectors"][0], "f01000/4", "numbers on chain are not given");

    let agent = cluster.spawn("sealer-agent", &["--name", "keeper", "--class", "post-io", "--class", "post-gpu"]);
    let poster = cluster.spawn("poster", &["run"]);
    let proven = cluster
        .until(EPOCHS_MAX, |chain| chain.with(|chain| chain.post_verdicts().iter().find(|post| post.valid).cloned()))
        .await;
    let deadline = record["state"]["deadline"].as_u64().unwrap();
    assert_eq!((proven.deadline, proven.partitions.clone()), (deadline, vec![0]), "{proven:?}");
    drop(poster);

    // A queue that is lost comes back with it, from the manifest and the chain.
    drop(coordinator);
    cluster.server.wipe().await;
    let rebuilt = cluster.run("coordinator", &["rebuild", "--wait", "20s"]);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    let _coordinator = cluster.coordinator().await;
    wait_for(LIMIT, || async {
        let (_, record, talk) = cluster.ask("coordinator", &["sectors", "show", "f01000/1"]);
        let is_back = record["state"]["sealed"] == state["sealed"] && record["incarnation"] == 2;
        if is_back { Ok(()) } else { Err(format!("{record}: {talk}")) }
    })
    .await;
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_where_nothing_is_becomes_no_store() {
    let root = tempfile::tempdir().unwrap();
    let (folder, cluster) = arrived(root.path()).await;
    let empty = root.path().join("unmounted");
    std::fs::create_dir(&empty).unwrap();
    let refused = |args: &[&str]| {
        let output = cluster.run("sealer-agent", &[&["store", "attach"], args].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, talk) = refused(&[&empty.display().to_string()]);
    assert!(code == Some(66) && talk.contains("is its disk mounted?"), "{talk}");
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    let (code, talk) = refused(&[&folder.path.display().to_string(), "--miner", "f02000"]);
    assert!(code == Some(66) && talk.contains("5 sectors of other miners"), "{talk}");
    // Without a coordinator nothing is written.
    let (code, talk) = refused(&[&folder.path.display().to_string()]);
    assert!(code == Some(69) && talk.contains("no coordinator answers"), "{talk}");
    assert!(!folder.at("sealstream-store.json").exists());
}
