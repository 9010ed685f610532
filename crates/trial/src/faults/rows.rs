//! Rows of the benchmark: on the terminal, and in the file that `make bench` gathers.

use std::{io::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::json;

/// Where every benchmark of this project writes, from the folder it is started in.
const RESULTS: &str = "target/bench/results.jsonl";

/// A figure beside what it is held against.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// What the ratio is to.
    pub(super) of: String,
    pub(super) ratio: f64,
}

impl Row {
    /// A figure that may be so large.
    pub(super) fn limited(name: impl Into<String>, value: f64, unit: &'static str, limit: f64) -> Self {
        Self { name: name.into(), value, unit, of: format!("the limit of {limit} {unit}"), ratio: value / limit }
    }
}

/// Prints a table, and adds its rows to the results.
pub(super) fn print(title: &str, rows: &[Row]) -> anyhow::Result<()> {
    let results = Path::new(RESULTS);
    if let Some(folder) = results.parent() {
        host::durable::create_dir_all(folder).context("create the folder of results")?;
    }
    let mut file = std::fs::File::options().create(true).append(true).open(results).context("open the results")?;
    println!("\n{title:<74} {:>9} {:<4} {:>7}  of", "value", "", "ratio");
    for Row { name, value, unit, of, ratio } in rows {
        let text = json!({ "name": name, "value": value, "unit": unit, "ratio_to": of, "ratio": ratio });
        writeln!(file, "{text}").context("write a result")?;
        println!("{name:<74} {value:>9.2} {unit:<4} {ratio:>7.2}  {of}");
    }
    Ok(())
}
