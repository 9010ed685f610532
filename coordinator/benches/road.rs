//! Figures of the whole road: the demo's time split, beside its stages called directly on the library.
//!
//! Appends to `target/bench/results.jsonl`, one object a line: `name`, `value`, `unit`, `ratio_to`, `ratio`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops at the first surprise")]

use std::{collections::BTreeMap, io::Write as _, path::Path, process::Command};

use serde_json::{Value, json};

/// What a sector may cost beside its stages and the epochs the chain requires, in seconds.
const REST_MAX_S: f64 = 5.0;

fn main() {
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let coordinator = Path::new(env!("CARGO_BIN_EXE_coordinator"));
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target");
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder).unwrap();

    let demo = folder.join("demo");
    let status = Command::new(coordinator).args(["dev", "--dir"]).arg(&demo).status().unwrap();
    assert!(status.success(), "the demo ended with {status}");
    let splits: Vec<Value> = serde_json::from_slice(&std::fs::read(demo.join("split.json")).unwrap()).unwrap();

    let prover = coordinator.with_file_name("prover");
    let output = Command::new(prover).args(["bench", "--sector-size", "2KiB", "-o", "json"]).output().unwrap();
    assert!(output.status.success(), "prover bench: {}", String::from_utf8_lossy(&output.stderr));
    let direct: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout).expect("prover bench answers JSON");

    let mut rows = Vec::new();
    for split in &splits {
        rows.extend(rows_of(split, &direct));
    }
    let mut results = std::fs::File::options().create(true).append(true).open(folder.join("results.jsonl")).unwrap();
    println!("\n{:<44} {:>9} {:<4} {:>7}  of", "the road", "value", "", "ratio");
    for row in &rows {
        writeln!(results, "{row}").unwrap();
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| row[key].as_f64().map_or_else(String::new, |v| format!("{v:.2}"));
        println!(
            "{:<44} {:>9} {:<4} {:>7}  {}",
            text("name"),
            number("value"),
            text("unit"),
            number("ratio"),
            text("ratio_to")
        );
    }
}

/// A sector's rows: each stage beside the library, and what is left when stages, waits for a slot or for cores, and
/// epochs are taken away.
fn rows_of(split: &Value, direct: &BTreeMap<String, f64>) -> Vec<Value> {
    let sector = split["sector"].as_str().unwrap();
    let seconds = |value: &Value| value.as_f64().unwrap() / 1000.0;
    let mut rows = Vec::new();
    let (mut waited, mut library) = (0.0, 0.0);
    for stage in split["stages"].as_array().unwrap() {
        let name = stage["stage"].as_str().unwrap();
        let ran = seconds(&stage["ran_ms"]);
        waited += seconds(&stage["waited_ms"]);
        let Some(alone) = direct.get(name).copied() else { continue };
        library += alone;
        rows.push(json!({
            "name": format!("road {sector} {name}"), "value": ran, "unit": "s",
            "ratio_to": format!("{name} called directly"), "ratio": ran / alone,
        }));
    }
    let total = seconds(&split["total_ms"]);
    // Seals run nicer than window PoSts: while one is made, a stage waits for its cores.
    let yielded = seconds(&split["yielded_ms"]);
    let rest = total - library - waited - yielded - seconds(&split["epochs_ms"]);
    rows.push(json!({
        "name": format!("road {sector} cores yielded to window PoSts"), "value": yielded, "unit": "s",
        "ratio_to": "submit to proving", "ratio": yielded / total,
    }));
    rows.push(json!({
        "name": format!("road {sector} submit to proving"), "value": total, "unit": "s",
        "ratio_to": "its stages called directly", "ratio": total / library,
    }));
    rows.push(json!({
        "name": format!("road {sector} beside stages, slots and epochs"), "value": rest, "unit": "s",
        "ratio_to": format!("the limit of {REST_MAX_S} s"), "ratio": rest / REST_MAX_S,
    }));
    rows
}
