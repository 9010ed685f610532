//! The shape of the workspace, held: who may import whom, where the proofs library is named, how long a file may be.
//!
//! Without it, one convenient `use` undoes a boundary, and nobody notices until it cannot be restored.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

/// Whom each member may import, of those in this workspace. Services never import each other.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("streams", &[]),
    ("host", &[]),
    ("chain", &["host", "streams"]),
    ("prover", &["host", "streams"]),
    ("devnet", &["chain", "host", "prover", "streams"]),
    ("coordinator", &["chain", "devnet", "host", "prover", "streams"]),
    ("sealer-agent", &["chain", "host", "prover", "streams"]),
    ("poster", &["chain", "devnet", "host", "prover", "streams"]),
    ("trial", &["chain", "coordinator", "devnet", "host", "poster", "prover", "sealer-agent", "streams"]),
];

/// The proofs library is named by one crate only: it has process-wide settings, prints, panics, and takes all cores.
const PROOFS: &[&str] = &["filecoin-proofs", "filecoin-proofs-api", "storage-proofs-"];
const PROOFS_OWNER: &str = "prover";

/// Modules that decide: time and facts come in as arguments, what to do goes out.
const DECIDING: &[&str] = &[
    "coordinator/src/fence.rs",
    "coordinator/src/rebuild/decide.rs",
    "coordinator/src/rebuild/files.rs",
    "coordinator/src/sector",
    "coordinator/src/why.rs",
    "coordinator/src/why",
    "poster/src/plan.rs",
];

/// What a deciding module must not name.
const DOING: &[&str] = &["async fn", "tokio::", "std::fs", "SystemTime", "Instant::now", "Clock", "reqwest::"];

const FILE_LINES_MAX: usize = 400;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[("streams/tests/texts/samples.rs", "a list: one sample of every text")];

struct Member {
    name: String,
    dir: PathBuf,
    manifest: Table,
}

impl Member {
    /// Every dependency with its table: normal, for tests, for the build, and by platform.
    fn dependencies(&self) -> BTreeMap<String, Value> {
        let platforms = self.manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        platforms
            .filter_map(Value::as_table)
            .chain([&self.manifest])
            .flat_map(|table| ["dependencies", "dev-dependencies", "build-dependencies"].map(|kind| table.get(kind)))
            .flatten()
            .filter_map(Value::as_table)
            .flatten()
            .map(|(name, wanted)| (name.clone(), wanted.clone()))
            .collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn toml(path: &Path) -> Table {
    fs::read_to_string(path).unwrap().parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn members() -> Vec<Member> {
    let workspace = toml(&root().join("Cargo.toml"));
    let dirs = workspace["workspace"]["members"].as_array().unwrap();
    let member = |dir: &Value| {
        let dir = root().join(dir.as_str().unwrap());
        let manifest = toml(&dir.join("Cargo.toml"));
        Member { name: manifest["package"]["name"].as_str().unwrap().to_owned(), dir, manifest }
    };
    dirs.iter().map(member).collect()
}

/// The Rust files below a path, itself included if it is one.
fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !path.ends_with("target"))
        .flat_map(|path| rust_files(&path))
        .collect();
    files.sort();
    files
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn is_proofs(name: &str) -> bool {
    let name = name.replace('_', "-");
    PROOFS.iter().any(|proofs| name == *proofs || (proofs.ends_with('-') && name.starts_with(proofs)))
}

#[test]
fn imports_go_one_way() {
    let members = members();
    let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    for member in &members {
        let (_, may_import) = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == member.name)
            .unwrap_or_else(|| panic!("{} is new: say in MAY_IMPORT whom it may import", member.name));
        // A crate may name itself, to give its own tests a feature.
        let others = names.iter().filter(|name| **name != member.name).copied().collect::<Vec<_>>();
        for imported in member.dependencies().into_keys().filter(|name| others.contains(&name.as_str())) {
            assert!(may_import.contains(&imported.as_str()), "{} must not import {imported}", member.name);
        }
    }
}

#[test]
fn versions_are_said_once() {
    for member in members() {
        for (name, wanted) in member.dependencies() {
            let inherits = wanted.get("workspace").and_then(Value::as_bool) == Some(true);
            assert!(inherits, "{}: {name} must be `{name}.workspace = true`", member.name);
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            let inherits = member.manifest["package"][key].get("workspace").is_some();
            assert!(inherits, "{}: package.{key} must be inherited", member.name);
        }
        assert!(member.manifest["lints"].get("workspace").is_some(), "{}: lints must be inherited", member.name);
    }
}

#[test]
fn no_dependency_follows_a_branch() {
    let workspace = toml(&root().join("Cargo.toml"));
    let patched = workspace.get("patch").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let wanted = workspace["workspace"]["dependencies"].as_table().unwrap().iter();
    for (name, wanted) in patched.filter_map(Value::as_table).flatten().chain(wanted) {
        let is_fixed = wanted.get("git").is_none() || wanted.get("rev").is_some();
        assert!(is_fixed, "{name} must be a release or a rev");
    }
}

#[test]
fn only_the_prover_names_the_proofs_library() {
    for member in members().iter().filter(|member| member.name != PROOFS_OWNER) {
        for name in member.dependencies().into_keys() {
            assert!(!is_proofs(&name), "{} must not depend on {name}: ask {PROOFS_OWNER}", member.name);
        }
        for file in rust_files(&member.dir) {
            let text = fs::read_to_string(&file).unwrap();
            let named = text
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .find(|word| word.contains('_') && is_proofs(word));
            assert_eq!(named, None, "{}: only {PROOFS_OWNER} names the proofs library", shown(&file));
        }
    }
}

#[test]
fn deciding_code_does_nothing() {
    for file in DECIDING.iter().flat_map(|path| rust_files(&root().join(path))) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let done = DOING.iter().find(|word| code.contains(**word));
        assert_eq!(done, None, "{} decides, and must not do", shown(&file));
    }
}

/// Out of the box the server acknowledges a write up to two minutes before it is on disk.
#[test]
fn jetstream_syncs_before_it_acknowledges() {
    let conf = fs::read_to_string(root().join("nats.conf")).unwrap();
    let line = conf.lines().map(str::trim).find(|line| line.starts_with("sync_interval"));
    let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().trim_matches('"'));
    assert_eq!(value, Some("always"), "nats.conf must say sync_interval: always");
}

#[test]
fn a_file_is_one_noun() {
    let excused: BTreeMap<_, _> = LONG_FILES.iter().copied().collect();
    let long: BTreeMap<_, _> = members()
        .iter()
        .flat_map(|member| rust_files(&member.dir))
        .map(|file| (shown(&file), fs::read_to_string(&file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .collect();
    let unexcused: Vec<_> = long.iter().filter(|(file, _)| !excused.contains_key(file.as_str())).collect();
    assert!(unexcused.is_empty(), "over {FILE_LINES_MAX} lines, to be split by their nouns: {unexcused:?}");
    let stale: Vec<_> = excused.keys().filter(|file| !long.contains_key(**file)).collect();
    assert!(stale.is_empty(), "no longer long, to be taken off the list: {stale:?}");
}

/// A failpoint's name says one place.
#[test]
fn a_failpoint_has_a_name_of_its_own() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for file in members().iter().flat_map(|member| rust_files(&member.dir.join("src"))) {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if let Some((_, rest)) = line.split_once("failpoint!(\"") {
                let (name, _) = rest.split_once('"').unwrap();
                places.entry(name.to_owned()).or_default().push(shown(&file));
            }
        }
    }
    let shared: Vec<_> = places.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(shared.is_empty(), "failpoints with one name at two places: {shared:?}");
}
