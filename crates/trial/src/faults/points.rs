//! The failpoints there are, by name, read from the sources: a list by hand would forget one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Where services and what runs within them are.
const SOURCES: [&str; 6] =
    ["coordinator/src", "sealer-agent/src", "poster/src", "crates/chain/src", "crates/host/src", "streams/src"];
const MARK: &str = "failpoint!(\"";
/// Programs that the suite can kill.
const PROGRAMS: [&str; 4] = ["agent", "chain", "coordinator", "poster"];

/// Every failpoint's name, in order.
pub(super) fn all() -> anyhow::Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("find the workspace")?;
    let mut names = BTreeSet::new();
    for folder in SOURCES {
        scan(&root.join(folder), &mut names)?;
    }
    Ok(names.into_iter().collect())
}

/// Adds deaths to those in a file.
pub(super) fn count(file: &Path, deaths: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let shown = file.display();
    let mut counts: BTreeMap<String, u64> = match host::durable::read(file)? {
        Some(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("read {shown}"))?,
        None => BTreeMap::new(),
    };
    for (failpoint, deaths) in deaths {
        *counts.entry(failpoint.clone()).or_default() += deaths;
    }
    let mut text = serde_json::to_vec_pretty(&counts).with_context(|| format!("write {shown}"))?;
    text.push(b'\n');
    Ok(host::durable::write(file, &text)?)
}

fn scan(folder: &Path, names: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let read = || format!("read {}", folder.display());
    let paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(read)?
        .map(|entry| Ok(entry.with_context(read)?.path()))
        .collect::<anyhow::Result<_>>()?;
    for path in paths {
        if path.is_dir() {
            scan(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            names.extend(names_in(&text));
        }
    }
    Ok(())
}

fn names_in(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let named = code.filter_map(|line| line.split_once(MARK)?.1.split_once('"'));
    let known = |name: &&str| PROGRAMS.iter().any(|program| name.starts_with(&format!("{program}.")));
    named.map(|(name, _)| name).filter(known).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strangers_are_not_failpoints() {
        let text =
            "//! `failpoint!(\"agent.a.b\")`\n  host::failpoint!(\"agent.c.d\");\nfailpoint!(\"elsewhere.c.d\");\n";
        assert_eq!(names_in(text), ["agent.c.d"]);
    }

    #[test]
    fn deaths_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("counts.json");
        let died = |name: &str, times| BTreeMap::from([(name.to_owned(), times)]);
        count(&file, &died("agent.c.d", 2)).unwrap();
        count(&file, &died("agent.c.d", 1)).unwrap();
        count(&file, &died("poster.a.b", 1)).unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{\n  \"agent.c.d\": 3,\n  \"poster.a.b\": 1\n}\n");
    }

    #[test]
    fn the_sources_can_be_read() {
        assert!(all().is_ok());
    }
}
