//! What others' folders hold, by their layout and names: lotus and damocles have the same.
//!
//! ```text
//! sealed/s-t01000-17            the replica
//! cache/s-t01000-17/            p_aux, t_aux, sc-02-data-tree-r-last*
//! update/  update-cache/        the replica after a SnapDeals update, and its cache
//! unsealed/                     data, which proving does not need
//! sectorstore.json              lotus: what its own index knows the folder by
//! ```

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use streams::id::SectorId;

use super::{
    StoreError,
    entries::{self, entries},
    paths::{self, ReplicaPaths},
    persistent::proving_files,
};

const UPDATES: [&str; 2] = ["update", "update-cache"];
/// What else lies at the root of such a folder, of theirs, of ours, and of the file system.
const KNOWN: [&str; 13] = [
    "sealed",
    "cache",
    "update",
    "update-cache",
    "unsealed",
    "piece",
    "sectorstore.json",
    "lost+found",
    paths::IDENTITY,
    "high-water.json",
    "high-water.lock",
    "manifests",
    "partial",
];

/// A folder of sealed sectors.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// Every sector that a name tells of, with what is wrong with its files.
    pub(crate) sectors: BTreeMap<SectorId, Option<String>>,
    /// What is no sector's and no part of the layout, with the reason.
    pub(crate) strays: Vec<(PathBuf, &'static str)>,
}

/// What a name in one of the folders tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Sector(SectorId),
    /// A sector's, but not as it is looked for.
    Unusual(SectorId),
    Other,
}

fn name_of(name: &str) -> Name {
    match paths::sector_of(name) {
        Some(sector) if sector.file_name() == name => Name::Sector(sector),
        Some(sector) => Name::Unusual(sector),
        None => Name::Other,
    }
}

/// Looks through a folder. Nothing is read but names, and nothing is changed.
pub(crate) fn look(root: &Path) -> Result<Folder, StoreError> {
    let mut folder = Folder::default();
    for path in entries(root)? {
        let name = entries::name_of(&path);
        if !KNOWN.contains(&name.as_str()) && name != "scratch" {
            folder.strays.push((path, "not of the layout of lotus and damocles"));
        }
    }
    let sealed = folder.named(&paths::replicas(root))?;
    let caches = folder.named(&root.join("cache"))?;
    let mut updated = BTreeMap::new();
    for update in UPDATES {
        updated.extend(folder.named(&root.join(update))?);
    }
    for sector in sealed.keys().chain(caches.keys()).chain(updated.keys()) {
        let unusual = [&sealed, &caches].into_iter().find_map(|found| found.get(sector)?.as_ref());
        let problem = if updated.contains_key(sector) {
            Some("it was updated by SnapDeals, which cannot be attached yet".to_owned())
        } else if let Some(name) = unusual {
            Some(format!("it is named {name}, and looked for as {}: rename it", sector.file_name()))
        } else if !sealed.contains_key(sector) {
            Some("it has a cache folder, and no sealed file".to_owned())
        } else if !caches.contains_key(sector) {
            Some("it has a sealed file, and no cache folder".to_owned())
        } else {
            lacking(root, *sector)?
        };
        folder.sectors.insert(*sector, problem);
    }
    Ok(folder)
}

/// Which of the files that proving needs is not there.
fn lacking(root: &Path, sector: SectorId) -> Result<Option<String>, StoreError> {
    let files = ReplicaPaths::new(root, sector);
    if !files.sealed.is_file() {
        return Ok(Some("its sealed file is no file".to_owned()));
    }
    match proving_files(&files.cache) {
        Ok(_) => Ok(None),
        Err(StoreError::Incomplete { what, .. }) => Ok(Some(format!("its cache folder has no {what}"))),
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            Ok(Some("its cache folder is no folder".to_owned()))
        }
        Err(error) => Err(error),
    }
}

impl Folder {
    /// The sectors that the names in one of the folders tell, each with its name where that is unusual.
    fn named(&mut self, dir: &Path) -> Result<BTreeMap<SectorId, Option<String>>, StoreError> {
        let mut found = BTreeMap::new();
        for path in entries(dir)? {
            let name = entries::name_of(&path);
            match name_of(&name) {
                Name::Sector(sector) => {
                    found.insert(sector, None);
                }
                // The usual name is the one, where there are both.
                Name::Unusual(sector) => {
                    found.entry(sector).or_insert(Some(name));
                }
                Name::Other => self.strays.push((path, "not the name of a sector")),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sector(number: u64) -> SectorId {
        SectorId::from_key(&format!("f01000.{number}")).unwrap()
    }

    fn file(root: &Path, name: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        host::durable::write(&path, b"x").unwrap();
    }

    fn whole(root: &Path, number: u64) {
        let name = sector(number).file_name();
        file(root, &format!("sealed/{name}"));
        for part in ["p_aux", "t_aux", "sc-02-data-tree-r-last.dat"] {
            file(root, &format!("cache/{name}/{part}"));
        }
    }

    #[test]
    fn names_of_sectors_are_told_from_all_others() {
        for (name, expected) in [
            ("s-t01000-17", Name::Sector(sector(17))),
            ("s-f01000-17", Name::Unusual(sector(17))),
            ("s-t01000-017", Name::Other),
            ("s-t01000-17.tmp", Name::Other),
            ("s-t01000-17.temp", Name::Other),
            ("s-t01000", Name::Other),
            ("s-t0-17-1", Name::Other),
            ("sectorstore.json", Name::Other),
            (".DS_Store", Name::Other),
            ("", Name::Other),
        ] {
            assert_eq!(name_of(name), expected, "{name}");
        }
    }

    #[test]
    fn a_lotus_folder_is_read_with_what_is_wrong_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        (1..=7).for_each(|number| whole(root, number));
        file(root, "sectorstore.json");
        file(root, "unsealed/s-t01000-1");
        fs::remove_dir_all(root.join("cache/s-t01000-2")).unwrap();
        host::durable::remove_file(&root.join("sealed/s-t01000-3")).unwrap();
        host::durable::remove_file(&root.join("cache/s-t01000-4/p_aux")).unwrap();
        host::durable::remove_file(&root.join("cache/s-t01000-5/sc-02-data-tree-r-last.dat")).unwrap();
        file(root, "update/s-t01000-6");
        file(root, "update-cache/s-t01000-6/p_aux");
        host::durable::rename(&root.join("sealed/s-t01000-7"), &root.join("sealed/s-f01000-7")).unwrap();
        for part in 0..8 {
            file(root, &format!("cache/s-t01000-8/sc-02-data-tree-r-last-{part}.dat"));
        }
        for part in ["sealed/s-t01000-8", "cache/s-t01000-8/p_aux", "cache/s-t01000-8/t_aux"] {
            file(root, part);
        }
        file(root, "sealed/s-t01000-9.tmp");
        file(root, "notes.txt");

        let folder = look(root).unwrap();
        let said: Vec<(u64, &str)> = folder
            .sectors
            .iter()
            .map(|(sector, problem)| (sector.number.0, problem.as_deref().unwrap_or("whole")))
            .collect();
        let expected = [
            (1, "whole"),
            (2, "it has a sealed file, and no cache folder"),
            (3, "it has a cache folder, and no sealed file"),
            (4, "its cache folder has no p_aux"),
            (5, "its cache folder has no tree-r-last"),
            (6, "it was updated by SnapDeals, which cannot be attached yet"),
            (7, "it is named s-f01000-7, and looked for as s-t01000-7: rename it"),
            (8, "whole"),
        ];
        assert_eq!(said, expected);
        let strays: Vec<&Path> = folder.strays.iter().map(|(path, _)| path.strip_prefix(root).unwrap()).collect();
        assert_eq!(strays, [Path::new("notes.txt"), Path::new("sealed/s-t01000-9.tmp")]);
    }

    #[test]
    fn what_a_mount_leaves_behind_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let folder = look(dir.path()).unwrap();
        assert!(folder.sectors.is_empty() && folder.strays.is_empty(), "{folder:?}");
    }
}
