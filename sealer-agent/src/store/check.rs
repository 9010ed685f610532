//! Whether a store holds what its manifests say.

use std::{fs, path::Path};

use serde::Serialize;
use streams::{
    id::{SectorId, StoreId},
    stage::Stage,
};

use super::{
    StoreError,
    copy::{self, Pulse},
    holdings::sectors_in,
    identity,
    manifest::Manifest,
    paths::{self, ReplicaPaths, SectorPaths},
    persistent::require_files,
};

/// Something wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    pub(crate) sector: Option<SectorId>,
    pub(crate) what: String,
    pub(crate) to_do: &'static str,
}

const MOUNT_IT: &str = "mount its disk; if the disk is lost: `coordinator store lost STORE --because …`";
const MAKE_ANEW: &str = "its copy is not to be trusted: keep the disk from writing, and have the copy made again";
const READ_BY_A_PERSON: &str =
    "look at the file; a manifest can be written again from another copy or by `store attach`";
const NOT_VOUCHED: &str = "nothing if `partial/` has it: a copy that did not end. Else ask `store attach --dry-run`: what the chain has is never \
     removed";

/// What came of a look.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) problems: Vec<Problem>,
    /// Attached replicas that a deep look could not compare: nobody ever had their digests.
    pub(crate) without_digest: u64,
}

/// Looks at everything in a store; with `deep` every kept replica is read and its digest compared. `seen` is told of
/// each sector.
pub(crate) fn check(
    store: StoreId,
    path: &Path,
    persistent: bool,
    deep: bool,
    seen: &mut dyn FnMut(SectorId),
) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    if let Err(error) = identity::require(path, store) {
        return match error {
            StoreError::Away { .. } => {
                checked.problems.push(problem(None, &error, MOUNT_IT));
                Ok(checked)
            }
            other => Err(other),
        };
    }
    if persistent {
        replicas(path, store, deep, seen, &mut checked)?;
    } else {
        sealing(path, seen, &mut checked.problems)?;
    }
    Ok(checked)
}

fn replicas(
    path: &Path,
    store: StoreId,
    deep: bool,
    seen: &mut dyn FnMut(SectorId),
    Checked { problems, without_digest }: &mut Checked,
) -> Result<(), StoreError> {
    let manifests = sectors_in(&paths::manifests(path))?;
    for (sector, manifest) in &manifests {
        seen(*sector);
        let files = ReplicaPaths::new(path, *sector);
        let manifest = match Manifest::read(manifest) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => continue,
            Err(error) => {
                problems.push(problem(Some(*sector), &error, READ_BY_A_PERSON));
                continue;
            }
        };
        if let Err(error) = require_files(&files, manifest.proof.sector_size()) {
            problems.push(problem(Some(*sector), &error, MAKE_ANEW));
            continue;
        }
        if deep && manifest.attached.is_some() {
            *without_digest = without_digest.saturating_add(1);
        }
        if let Some(expected) = manifest.sealed_sha256().filter(|_| deep) {
            let (found, _) = copy::read_back(&files.sealed, &Pulse::default())?;
            if found != expected {
                let error = StoreError::Differs { store, sector: *sector, file: files.sealed, expected, found };
                problems.push(problem(Some(*sector), &error, MAKE_ANEW));
            }
        }
    }
    for (sector, file) in sectors_in(&paths::replicas(path))? {
        if !manifests.iter().any(|(known, _)| *known == sector) {
            let what = format!("{} has no manifest", file.display());
            problems.push(Problem { sector: Some(sector), what, to_do: NOT_VOUCHED });
        }
    }
    Ok(())
}

fn sealing(path: &Path, seen: &mut dyn FnMut(SectorId), problems: &mut Vec<Problem>) -> Result<(), StoreError> {
    for (sector, _) in sectors_in(&paths::sectors(path))? {
        seen(sector);
        let files = SectorPaths::new(path, sector);
        let manifest = match Manifest::read(&files.manifest()) {
            Ok(Some(manifest)) => manifest,
            // Room is being promised.
            Ok(None) => continue,
            Err(error) => {
                problems.push(problem(Some(sector), &error, READ_BY_A_PERSON));
                continue;
            }
        };
        let expected = if manifest.has(Stage::Pc2) {
            Some(files.sealed())
        } else if manifest.has(Stage::AddPiece) && !manifest.pieces.is_empty() {
            Some(files.staged())
        } else {
            None
        };
        let Some(file) = expected else { continue };
        let size = manifest.proof.sector_size();
        let found = fs::metadata(&file).map(|meta| meta.len());
        if found.as_ref().ok() != Some(&size) {
            let found = found.map_or_else(|error| error.to_string(), |bytes| format!("it has {bytes} bytes"));
            let what = format!("{} is not a file of {size} bytes: {found}", file.display());
            problems.push(Problem { sector: Some(sector), what, to_do: "the stage that makes it is to be done again" });
        }
    }
    Ok(())
}

fn problem(sector: Option<SectorId>, error: &StoreError, to_do: &'static str) -> Problem {
    let mut what = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        what = format!("{what}: {source}");
        cause = source.source();
    }
    Problem { sector, what, to_do }
}
