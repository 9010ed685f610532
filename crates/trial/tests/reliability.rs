//! RELIABILITY.md says what is true: every invariant with its checker, files that exist, every failpoint of the source.
//!
//! To write the list of failpoints anew: `SEALSTREAM_WRITE_GOLDEN=1 cargo test --workspace --test reliability`.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use trial::checker::CHECKS;

const BEGIN: &str = "<!-- failpoints: begin -->\n";
const END: &str = "<!-- failpoints: end -->";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn page() -> String {
    fs::read_to_string(root().join("RELIABILITY.md")).unwrap()
}

/// Rows of the table of invariants, as cells.
fn invariants() -> Vec<Vec<String>> {
    let page = page();
    let (_, section) = page.split_once("## What must never happen").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_has_every_invariant_and_no_other() {
    let listed: Vec<_> = invariants().into_iter().map(|cells| cells.into_iter().next().unwrap()).collect();
    let checked: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(listed, checked);
}

#[test]
fn every_invariant_has_its_function_and_a_seeded_violation() {
    let seeded = fs::read_to_string(root().join("crates/trial/src/checker/tests/seeded.rs")).unwrap();
    for cells in invariants() {
        let [id, .., function] = cells.as_slice() else { panic!("{cells:?}") };
        let (module, name) = quoted(function).first().and_then(|path| path.split_once("::")).unwrap();
        let source = fs::read_to_string(root().join(format!("crates/trial/src/checker/{module}.rs"))).unwrap();
        assert!(source.contains(&format!("pub(super) fn {name}(")), "{id}: {module}::{name} is not there");
        assert!(seeded.contains(&format!("fires(\"{id}\"")), "{id}: nothing shows that it would be seen");
    }
}

#[test]
fn every_file_that_it_names_exists() {
    let named: Vec<_> = invariants().into_iter().filter_map(|cells| cells.into_iter().nth(3)).collect();
    let files: Vec<_> = named.iter().flat_map(|cell| quoted(cell)).collect();
    assert!(files.len() >= CHECKS.len(), "a file for each: {files:?}");
    for file in files {
        assert!(root().join(file).is_file(), "{file} is not there");
    }
}

/// The Rust files of the product, without tests.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["target", "tests"].contains(&name) && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Failpoints by name, with the file that has them.
fn failpoints() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    assert!(files.len() > 100, "the sources are not where they were");
    let mut found = BTreeMap::new();
    for file in files {
        let shown = file.strip_prefix(root()).unwrap().display().to_string();
        for line in fs::read_to_string(&file).unwrap().lines().filter(|line| !line.trim_start().starts_with("//")) {
            let Some((_, rest)) = line.split_once("failpoint!(\"") else { continue };
            let (name, _) = rest.split_once('"').unwrap();
            // A name in a text about failpoints, as in this file.
            if name.contains('.') {
                found.insert(name.to_owned(), shown.clone());
            }
        }
    }
    found
}

/// What the tests of deaths name.
fn died_at_every_run() -> String {
    let tests = fs::read_dir(root().join("coordinator/tests/killed")).unwrap();
    tests.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn every_failpoint_of_the_source_is_listed_and_no_other() {
    let found = failpoints();
    let counts = fs::read(root().join("crates/trial/failpoints.json")).unwrap();
    let counts: BTreeMap<String, u64> = serde_json::from_slice(&counts).unwrap();
    let tests = died_at_every_run();
    let (mut rows, mut by_suite, mut by_tests) = (String::new(), 0, 0);
    for (name, file) in &found {
        let deaths = match counts.get(name) {
            Some(deaths) => {
                by_suite += 1;
                deaths.to_string()
            }
            None if tests.contains(&format!("\"{name}\"")) => {
                by_tests += 1;
                "each run".to_owned()
            }
            None => "0".to_owned(),
        };
        rows += &format!("| `{name}` | {deaths} | `{file}` |\n");
    }
    let section = format!(
        "There are {}. The suite has died at {by_suite} of them, so often, and tests die at {by_tests} others with each \
         run, without a violation or a lost sector.\n\n| failpoint | died at | in |\n|---|--:|---|\n{rows}",
        found.len(),
    );
    let page = page();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    if std::env::var_os("SEALSTREAM_WRITE_GOLDEN").is_some() {
        let text = format!("{before}{BEGIN}{section}{END}{after}");
        host::durable::write(&root().join("RELIABILITY.md"), text.as_bytes()).unwrap();
        return;
    }
    assert_eq!(listed, section, "SEALSTREAM_WRITE_GOLDEN=1 writes it anew");
}
