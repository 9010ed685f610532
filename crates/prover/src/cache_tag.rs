//! What a cache folder belongs to, written beside it.
//!
//! The library takes layers and a tree-d that lie in the folder by their length alone, also those of another ticket or
//! other data. The tag says whose they are and which of them had reached the disk; anything else is cleared.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use host::durable;
use serde::{Deserialize, Serialize};
use streams::{
    id::SectorId,
    message::{Text, decode, encode},
    proof::{Bytes32, Commitment, SealProof},
};

/// What PC1's files in a cache folder belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheTag {
    pub(crate) proof: SealProof,
    pub(crate) sector: SectorId,
    pub(crate) ticket: Bytes32,
    pub(crate) comm_d: Commitment,
    /// Layers that are whole on disk, from the first.
    pub(crate) layers_synced: u32,
}

impl Text for CacheTag {
    const KIND: &'static str = "cache-tag";
    const VERSION: u64 = 1;
}

impl CacheTag {
    /// Whether both are about the same labels.
    pub(crate) fn is_same_work(&self, other: &Self) -> bool {
        Self { layers_synced: 0, ..self.clone() } == Self { layers_synced: 0, ..other.clone() }
    }
}

/// What a tree-d in a cache folder is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TreeDTag {
    pub(crate) proof: SealProof,
    pub(crate) comm_d: Commitment,
}

impl Text for TreeDTag {
    const KIND: &'static str = "tree-d-tag";
    const VERSION: u64 = 1;
}

/// A kind of tag, each in a file of its own.
pub(crate) trait Tag: Text {
    const SUFFIX: &'static str;
}

impl Tag for CacheTag {
    const SUFFIX: &'static str = ".tag";
}

impl Tag for TreeDTag {
    const SUFFIX: &'static str = ".tree-d.tag";
}

fn path_of<T: Tag>(cache: &Path) -> PathBuf {
    let mut name = cache.as_os_str().to_owned();
    name.push(T::SUFFIX);
    PathBuf::from(name)
}

/// The tag, if there is one that can be read: an unreadable one vouches for nothing.
pub(crate) fn read<T: Tag>(cache: &Path) -> anyhow::Result<Option<T>> {
    let path = path_of::<T>(cache);
    let bytes = match durable::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => None,
        Err(error) => return Err(error.into()),
    };
    Ok(bytes.and_then(|bytes| match decode(&bytes) {
        Ok(tag) => Some(tag),
        Err(error) => {
            tracing::warn!(path = %path.display(), "disregard an unreadable tag: {error}");
            None
        }
    }))
}

pub(crate) fn write<T: Tag>(cache: &Path, tag: &T) -> anyhow::Result<()> {
    let path = path_of::<T>(cache);
    durable::write(&path, &encode(tag)?).with_context(|| format!("write {}", path.display()))
}

pub(crate) fn remove<T: Tag>(cache: &Path) -> anyhow::Result<()> {
    Ok(durable::remove_file(&path_of::<T>(cache))?)
}
