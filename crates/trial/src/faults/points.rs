//! The failpoints there are, by name, read from the sources: a list by hand would forget one.

use std::{
    collections::BTreeSet,
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
    fn the_sources_can_be_read() {
        assert!(all().is_ok());
    }
}
