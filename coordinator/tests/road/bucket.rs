//! Pieces in a bucket, with a real agent and real proofs: sealed from there, and unsealed into it.

use std::time::Duration;

use serde_json::Value;

use crate::{
    cluster::{Cluster, wait_for},
    s3::{BUCKET, KEY_ID, S3, SECRET},
};

const SEALED_WITHIN: Duration = Duration::from_secs(300);
/// From PC2 on a sector has a replica to read from; the chain is not waited for.
const HAS_A_REPLICA: [&str; 8] = [
    "pc2-done",
    "pre-commit-sent",
    "pre-committed",
    "seed-ready",
    "c1-done",
    "c2-done",
    "prove-commit-sent",
    "proving",
];

#[test]
fn pieces_of_a_bucket_are_sealed_from_it_and_unsealed_into_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let s3 = runtime.block_on(S3::start());
    let store = format!("s3://{BUCKET}/of/us");
    let cluster = Cluster::start(&[
        ("SEALSTREAM_COORDINATOR_PIECES__STORE", &store),
        ("SEALSTREAM_COORDINATOR_PIECES__ENDPOINT", &s3.url),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ]);
    let (uploaded, theirs): (Vec<u8>, Vec<u8>) =
        ((0_u8..=250).cycle().take(1_016).collect(), (0_u8..=200).rev().cycle().take(700).collect());
    s3.put("theirs/dataset.car", &theirs);
    let file = cluster.dir().join("uploaded.bin");
    host::durable::write(&file, &uploaded).unwrap();
    let object = format!("s3://{BUCKET}/theirs/dataset.car");
    let submitted = cluster.answer(&["submit", "--miner", &cluster.miner(), &file.display().to_string(), &object]);
    let sectors = submitted["sectors"].as_array().unwrap();
    assert_eq!(sectors.len(), 1, "both fit into one: {submitted}");
    let sector = sectors[0].as_str().unwrap();

    let record = wait_for("a replica", SEALED_WITHIN, || {
        let record = cluster.answer(&["sectors", "show", sector]);
        let state = record["state"]["is"].as_str().unwrap_or_default().to_owned();
        assert_ne!(state, "parked", "{record}");
        if HAS_A_REPLICA.contains(&state.as_str()) { Ok(record) } else { Err(format!("{state}: {record}")) }
    });
    assert!(!record.to_string().contains("X-Amz"), "an address that lets anybody in is in the record: {record}");
    assert!(ran(&record, "add-piece"), "{record}");
    assert!(s3.asked("GET /sealing/of/us/pieces/") > 0, "the agent read from the bucket itself");
    assert!(s3.asked("GET /sealing/theirs/dataset.car?X-Amz") > 0, "the agent read from the bucket itself");

    for (piece, original) in [("0", &uploaded), ("1", &theirs)] {
        let to = format!("s3://{BUCKET}/back/{piece}");
        let said = cluster.says(&["unseal", sector, "--piece", piece, "--to", &to]);
        assert_eq!(said.trim(), to);
        assert_eq!(&s3.object(&format!("back/{piece}")).unwrap()[..], original, "piece {piece}");
    }
    let out = cluster.dir().join("whole");
    cluster.says(&["unseal", sector, "--out", &out.display().to_string()]);
    let whole = std::fs::read(&out).unwrap();
    assert_eq!((whole.len(), &whole[..1_016], &whole[1_016..1_716]), (2_032, &uploaded[..], &theirs[..]));
    assert_eq!(s3.unfinished(), Vec::<String>::new());
}

fn ran(record: &Value, stage: &str) -> bool {
    record["story"].as_array().is_some_and(|story| story.iter().any(|run| run["stage"] == stage))
}
