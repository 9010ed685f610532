//! What lies in a folder of a store.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::StoreError;

/// In the order of names; nothing where there is no folder.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = match fs::read_dir(dir) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in read {
        found.push(entry.map_err(StoreError::io("read", dir))?.path());
    }
    found.sort();
    Ok(found)
}

/// An entry's own name.
pub(crate) fn name_of(entry: &Path) -> String {
    entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
