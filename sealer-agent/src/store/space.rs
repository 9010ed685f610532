//! Bytes: of a file system, of a folder, and those promised to sectors.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::StoreError;

/// Folders within folders that a store of ours can have.
const DEPTH_MAX: u32 = 8;
const BLOCK_BYTES: u64 = 512;

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) total: u64,
    /// What an ordinary user may still fill.
    pub(crate) free: u64,
}

/// The file system under a path.
pub(crate) fn space(path: &Path) -> Result<Space, StoreError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| StoreError::io("read the space of", path)(e.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space { total: bytes(stat.f_blocks), free: bytes(stat.f_bavail) })
}

/// Bytes that a file or folder takes on its disk. What vanishes while we look takes none.
pub(crate) fn taken(path: &Path) -> u64 {
    taken_to(path, DEPTH_MAX)
}

fn taken_to(path: &Path, depth: u32) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let own = meta.blocks().saturating_mul(BLOCK_BYTES);
    if !meta.is_dir() || depth == 0 {
        return own;
    }
    let Ok(entries) = fs::read_dir(path) else { return own };
    entries.flatten().fold(own, |sum, entry| sum.saturating_add(taken_to(&entry.path(), depth - 1)))
}

/// What can still be promised: the free bytes, less what is promised and not yet written, less what must stay free.
pub(crate) fn room(free: u64, promised: impl IntoIterator<Item = Promise>, keep_free: u64) -> u64 {
    let outstanding = promised.into_iter().fold(0u64, |sum, p| sum.saturating_add(p.outstanding()));
    free.saturating_sub(outstanding).saturating_sub(keep_free)
}

/// Room promised to one sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    /// In all.
    pub(crate) reserved: u64,
    /// Of which it has written.
    pub(crate) taken: u64,
}

impl Promise {
    const fn outstanding(self) -> u64 {
        self.reserved.saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sector_has_written_is_not_promised_twice() {
        let promise = |reserved, taken| Promise { reserved, taken };
        assert_eq!(room(1000, [promise(300, 0), promise(300, 250)], 100), 550);
        assert_eq!(room(1000, [promise(300, 900)], 0), 1000);
        assert_eq!(room(100, [promise(300, 0)], 0), 0);
    }
}
