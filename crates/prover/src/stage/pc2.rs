//! Column hashes, tree-c, tree-r-last and the replica.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use filecoin_proofs_api::seal::{SealPreCommitPhase1Output, seal_pre_commit_phase2};
use streams::{
    id::SectorId,
    proof::{Bytes32, SealProof},
    stage::Stage,
};

use super::file;
use crate::{
    cache_tag::{self, CacheTag},
    failure::StageFailure,
    job::Output,
    library::{catch, registered_seal},
    progress::{HowFar, Progress},
};

pub(super) struct Pc2<'a> {
    pub(super) proof: SealProof,
    pub(super) sector: SectorId,
    pub(super) input: &'a Path,
    pub(super) staged: Option<&'a Path>,
    pub(super) cache: &'a Path,
    pub(super) sealed: &'a Path,
}

impl Pc2<'_> {
    pub(super) fn run(&self, progress: &dyn Progress) -> Result<Output, StageFailure> {
        file::require_folder("cache", self.cache)?;
        let phase1: SealPreCommitPhase1Output = file::read_json(self.input, Stage::Pc1)?;
        self.check_cache(&phase1)?;
        progress.tell("restoring the staged data", HowFar::Unknown);
        self.remove_traces()?;
        self.restore_sealed()?;
        progress.tell("trees and replica", HowFar::Unknown);
        let output = catch(|| seal_pre_commit_phase2(phase1, self.cache, self.sealed))?
            .map_err(|error| error.context("build the trees and the replica"))?;
        progress.tell("syncing trees", HowFar::Unknown);
        host::durable::sync_tree(self.cache)?;
        file::sync(self.sealed)?;
        Ok(Output::Pc2 { comm_d: Bytes32(output.comm_d), comm_r: Bytes32(output.comm_r) })
    }

    /// The library does not look whose layers these are, nor whether all of them are there.
    fn check_cache(&self, phase1: &SealPreCommitPhase1Output) -> Result<(), StageFailure> {
        let redo = |message| StageFailure::BadEarlierWork { from: Stage::Pc1, code: "wrong-cache", message };
        let tag = cache_tag::read::<CacheTag>(self.cache)?
            .ok_or_else(|| redo(format!("nothing says whose files are in {}", self.cache.display())))?;
        let is_ours = tag.proof == self.proof
            && tag.sector == self.sector
            && tag.comm_d.0 == phase1.comm_d
            && phase1.registered_proof == registered_seal(self.proof);
        if !is_ours {
            return Err(redo(format!("{} belongs to {} with CommD {}", self.cache.display(), tag.sector, tag.comm_d)));
        }
        for layer in 1..=self.proof.layers() {
            let path = file::data_path(self.cache, &format!("layer-{layer}"));
            if path.metadata().map_or(0, |m| m.len()) != self.proof.sector_size() {
                return Err(redo(format!("{} is not whole", path.display())));
            }
        }
        Ok(())
    }

    /// Clears what an interrupted run left.
    fn remove_traces(&self) -> Result<(), StageFailure> {
        let mut traces: Vec<PathBuf> = vec![self.cache.join("p_aux"), self.cache.join("t_aux")];
        traces.extend(file::files_with_prefix(self.cache, "sc-02-data-tree-c")?);
        traces.extend(file::files_with_prefix(self.cache, "sc-02-data-tree-r-last")?);
        for path in traces {
            host::durable::remove_file(&path)?;
        }
        Ok(())
    }

    /// PC2 works in place, so an interrupted run has left half a replica.
    fn restore_sealed(&self) -> Result<(), StageFailure> {
        let size = self.proof.sector_size();
        let mut sealed = file::create_zeroed(self.sealed, size)?;
        if let Some(staged) = self.staged {
            file::require_length("staged file", staged, size)?;
            File::open(staged)
                .and_then(|mut staged| io::copy(&mut staged, &mut sealed))
                .with_context(|| format!("copy {} to {}", staged.display(), self.sealed.display()))?;
        }
        Ok(())
    }
}
