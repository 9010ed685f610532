//! Walks the stores when a run is over. It knows their layout from the outside, and shares no code with the agent.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use host::clock::Clock;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{FileSeen, LineLog, STORES, StoreLine};

/// The file that makes a folder a store.
const IDENTITY: &str = "sealstream-store.json";
/// Folders within folders that a sector can have.
const DEPTH_MAX: u32 = 8;
/// Files that say nothing about a sector's data.
const NOT_DATA: [&str; 3] = ["manifest.json", "lock", "holder.json"];

/// A store to be looked at.
#[derive(Debug, Clone)]
pub struct StoreFolder {
    /// Where it is.
    pub path: PathBuf,
    /// The place that opens it.
    pub place: String,
}

/// Notes in `evidence/stores.jsonl` what lies in these stores. Nothing may be at work in them.
pub fn collect(evidence: &Path, stores: &[StoreFolder], clock: &dyn Clock) -> io::Result<()> {
    let log = LineLog::open(evidence, STORES)?;
    for store in stores {
        log.note_all(&look_at(store, clock.now_unix_ms())?)?;
    }
    log.sync()
}

fn look_at(store: &StoreFolder, at: u64) -> io::Result<Vec<StoreLine>> {
    let identity = json(&store.path.join(IDENTITY))?
        .ok_or_else(|| io::Error::other(format!("{} has no readable {IDENTITY}", store.path.display())))?;
    let id = identity.get("store").and_then(Value::as_str).unwrap_or_default().to_owned();
    let persistent = identity.get("persistent").and_then(Value::as_bool).unwrap_or(false);
    let space = rustix::fs::statvfs(&store.path)?;
    let mut lines = vec![StoreLine::Store {
        at,
        store: id.clone(),
        persistent,
        place: store.place.clone(),
        path: store.path.display().to_string(),
        bytes_total: space.f_blocks.saturating_mul(space.f_frsize),
        bytes_free: space.f_bavail.saturating_mul(space.f_frsize),
    }];
    let sectors = if persistent { replicas(&store.path)? } else { sealing(&store.path)? };
    for (sector, Group { manifest, files }) in sectors {
        lines.push(StoreLine::Files { store: id.clone(), persistent, sector, manifest, files });
    }
    Ok(lines)
}

#[derive(Default)]
struct Group {
    manifest: Option<Value>,
    files: Vec<FileSeen>,
}

/// `sectors/<name>/…`
fn sealing(store: &Path) -> io::Result<BTreeMap<String, Group>> {
    let mut found = BTreeMap::new();
    for root in entries(&store.join("sectors"))? {
        let Some(sector) = sector_of(&root) else { continue };
        let mut files = Vec::new();
        walk(&root, &root, DEPTH_MAX, &mut files)?;
        files.retain(|file| !NOT_DATA.contains(&file.name.as_str()));
        found.insert(sector, Group { manifest: json(&root.join("manifest.json"))?, files });
    }
    Ok(found)
}

/// `sealed/<name>`, `cache/<name>/…`, `manifests/<name>.json`
fn replicas(store: &Path) -> io::Result<BTreeMap<String, Group>> {
    let mut found = BTreeMap::<String, Group>::new();
    for folder in ["sealed", "cache"] {
        for path in entries(&store.join(folder))? {
            let Some(sector) = sector_of(&path) else { continue };
            walk(&path, store, DEPTH_MAX, &mut found.entry(sector).or_default().files)?;
        }
    }
    for path in entries(&store.join("manifests"))? {
        let Some(sector) = sector_of(&path) else { continue };
        found.entry(sector).or_default().manifest = json(&path)?;
    }
    Ok(found)
}

/// `s-t01000-17` or `s-t01000-17.json`, as people write it.
fn sector_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (miner, number) = name.strip_suffix(".json").unwrap_or(name).strip_prefix("s-t0")?.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(miner) && is_number(number)).then(|| format!("f0{miner}/{number}"))
}

fn walk(path: &Path, root: &Path, depth: u32, files: &mut Vec<FileSeen>) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        if depth == 0 {
            return Err(io::Error::other(format!("{} is nested too deep", path.display())));
        }
        return entries(path)?.iter().try_for_each(|entry| walk(entry, root, depth - 1, files));
    }
    let (bytes, sha256) = digest(path)?;
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    files.push(FileSeen { name, bytes, sha256 });
    Ok(())
}

fn digest(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut digest, mut length) = (File::open(path)?, Sha256::new(), 0u64);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
        digest.update(chunk);
        length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok((length, hex::encode(digest.finalize())))
}

/// What is in a folder, by name; nothing when it is not there.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    paths.sort();
    Ok(paths)
}

/// A file's JSON; none when it is not there or says something else.
fn json(path: &Path) -> io::Result<Option<Value>> {
    Ok(host::durable::read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

#[cfg(test)]
mod tests {
    use host::{clock::SystemClock, durable};

    use super::*;
    use crate::evidence::{Line, read_lines};

    fn store(dir: &Path, persistent: bool) -> StoreFolder {
        let identity = format!(r#"{{"v":1,"store":"{}","persistent":{persistent},"created_at":1}}"#, dir.display());
        durable::create_dir_all(dir).unwrap();
        durable::write(&dir.join(IDENTITY), identity.as_bytes()).unwrap();
        StoreFolder { path: dir.to_owned(), place: "host1".to_owned() }
    }

    fn put(path: &Path, text: &str) {
        durable::create_dir_all(path.parent().unwrap()).unwrap();
        durable::write(path, text.as_bytes()).unwrap();
    }

    #[test]
    fn both_kinds_of_store_are_seen_with_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let (local, kept) = (dir.path().join("local"), dir.path().join("kept"));
        let stores = [store(&local, false), store(&kept, true)];
        put(&local.join("sectors/s-t01000-17/sealed"), "abc");
        put(&local.join("sectors/s-t01000-17/cache/p_aux"), "p");
        put(&local.join("sectors/s-t01000-17/manifest.json"), r#"{"v":1}"#);
        put(&local.join("sectors/s-t01000-17/lock"), "held");
        put(&kept.join("sealed/s-t01000-17"), "abc");
        put(&kept.join("manifests/s-t01000-17.json"), r#"{"v":2}"#);
        put(&kept.join("scratch/other"), "x");
        let out = dir.path().join("evidence");
        collect(&out, &stores, &SystemClock).unwrap();
        let mut seen = Vec::new();
        read_lines(&out, STORES, |line: Line<StoreLine>| seen.push(line.value)).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let [
            StoreLine::Store { persistent: false, .. },
            StoreLine::Files { sector, manifest, files, .. },
            StoreLine::Store { persistent: true, .. },
            kept,
        ] = seen.as_slice()
        else {
            panic!("{seen:?}")
        };
        assert_eq!((sector.as_str(), manifest), ("f01000/17", &Some(serde_json::json!({"v": 1}))));
        let names: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(names, [("cache/p_aux", 1), ("sealed", 3)]);
        let StoreLine::Files { manifest: Some(manifest), files, .. } = kept else { panic!("{kept:?}") };
        assert_eq!(manifest, &serde_json::json!({"v": 2}));
        assert_eq!(files, &[FileSeen { name: "sealed/s-t01000-17".to_owned(), bytes: 3, sha256: abc.to_owned() }]);
    }
}
