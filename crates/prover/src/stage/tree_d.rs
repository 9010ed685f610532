//! Tree-d: the binary tree over the staged data, in the file that PC1, PC2 and C1 read.
//!
//! The library builds it only as a part of PC1, by mapping the data. Its file is the rows of the tree one after the
//! other, leaves first, which needs neither the library nor a map.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::Context as _;
use rayon::prelude::*;
use streams::proof::{Bytes32, Commitment, SealProof};

use super::file::{self, BUFFER_BYTES};
use crate::{
    cache_tag::{self, TreeDTag},
    commitment::hash_nodes,
    failure::StageFailure,
    job::Output,
    progress::{HowFar, Progress},
};

const NODE_BYTES: usize = 32;

pub(super) fn run(
    proof: SealProof,
    staged: Option<&Path>,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Output, StageFailure> {
    if let Some(staged) = staged {
        file::require_length("staged file", staged, proof.sector_size())?;
    }
    host::durable::create_dir_all(cache)?;
    // Without a tag the tree means nothing, so it may be torn while it grows.
    cache_tag::remove::<TreeDTag>(cache)?;
    let path = file::data_path(cache, "tree-d");
    let comm_d = build(proof, staged, &path, progress)?;
    file::sync(&path)?;
    cache_tag::write(cache, &TreeDTag { proof, comm_d })?;
    Ok(Output::TreeD { comm_d })
}

fn build(
    proof: SealProof,
    staged: Option<&Path>,
    path: &Path,
    progress: &dyn Progress,
) -> Result<Commitment, StageFailure> {
    let size = proof.sector_size();
    let total = 2 * size - 32;
    let tree = file::create_zeroed(path, total)?;
    let leaves: Box<dyn Read> = match staged {
        Some(staged) => Box::new(File::open(staged).with_context(|| format!("open {}", staged.display()))?),
        None => Box::new(io::repeat(0)),
    };
    copy_row(leaves.take(size), &tree, path)?;
    let (mut row_start, mut row_len) = (0, size);
    while row_len > 32 {
        progress.tell("tree-d", HowFar::bytes(row_start + row_len, total));
        hash_row(&tree, row_start, row_len).with_context(|| format!("build {}", path.display()))?;
        row_start += row_len;
        row_len /= 2;
    }
    let mut root = [0; NODE_BYTES];
    tree.read_exact_at(&mut root, row_start).context("read the root")?;
    Ok(Bytes32(root))
}

fn copy_row(mut leaves: impl Read, mut tree: &File, path: &Path) -> Result<(), StageFailure> {
    let mut target = BufWriter::with_capacity(BUFFER_BYTES, &mut tree);
    io::copy(&mut leaves, &mut target)
        .and_then(|_| target.flush())
        .with_context(|| format!("write {}", path.display()))?;
    Ok(())
}

/// Writes the row above the one at `start`, right behind it.
fn hash_row(tree: &File, start: u64, length: u64) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let take = usize::try_from(length - done).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        let mut children = vec![0; take];
        tree.read_exact_at(&mut children, start + done)?;
        let parents: Vec<[u8; NODE_BYTES]> = children
            .par_chunks(2 * NODE_BYTES)
            .map(|pair| match (pair.first_chunk(), pair.last_chunk()) {
                (Some(left), Some(right)) => hash_nodes(left, right),
                _ => [0; NODE_BYTES],
            })
            .collect();
        tree.write_all_at(parents.as_flattened(), start + length + done / 2)?;
        done += u64::try_from(take).map_err(io::Error::other)?;
    }
    Ok(())
}
