//! SDR labelling: the long stage. Layers that are whole and belong to this very work are kept.

use std::{
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use filecoin_proofs_api::{PieceInfo, seal::seal_pre_commit_phase1};
use streams::{
    id::SectorId,
    proof::{Bytes32, Commitment, SealProof},
    stage::Stage,
};

use super::file;
use crate::{
    cache_tag::{self, CacheTag, TreeDTag},
    commitment,
    failure::StageFailure,
    job::{Output, PieceCommitment},
    library::{catch, prover_id, registered_seal, sector_id},
    parent_cache,
    progress::{HowFar, Progress},
};

/// How often to look for a finished layer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Pc1<'a> {
    pub(super) proof: SealProof,
    pub(super) sector: SectorId,
    pub(super) ticket: Bytes32,
    pub(super) pieces: &'a [PieceCommitment],
    pub(super) staged: Option<&'a Path>,
    pub(super) cache: &'a Path,
    pub(super) sealed: &'a Path,
    pub(super) output: &'a Path,
}

impl Pc1<'_> {
    pub(super) fn run(&self, progress: &dyn Progress) -> Result<Output, StageFailure> {
        let bad_pieces = |error: commitment::CommitmentError| StageFailure::bad_input(error.to_string());
        let tiles = commitment::tile(self.proof, self.pieces).map_err(bad_pieces)?;
        let comm_d = commitment::comm_d(self.proof, self.pieces).map_err(bad_pieces)?;
        if let Some(staged) = self.staged {
            file::require_length("staged file", staged, self.proof.sector_size())?;
        }
        parent_cache::warm(self.proof, progress)?;
        let tag = self.prepare_cache(comm_d)?;
        // The library opens it without truncating: in a CC sector old bytes would stay.
        file::create_zeroed(self.sealed, self.proof.sector_size())?;
        let output = self.label(&tiles, &tag, progress)?;
        if output.comm_d != comm_d.0 {
            return Err(data_differs(comm_d, Bytes32(output.comm_d)));
        }
        progress.tell("syncing layers", HowFar::Unknown);
        host::durable::sync_tree(self.cache)?;
        cache_tag::write(self.cache, &CacheTag { layers_synced: self.proof.layers(), ..tag })?;
        file::sync(self.sealed)?;
        file::write_json(self.output, &output)?;
        Ok(Output::Pc1 {})
    }

    /// Leaves in the cache folder only what this work itself put there and had synced.
    fn prepare_cache(&self, comm_d: Commitment) -> Result<CacheTag, StageFailure> {
        host::durable::create_dir_all(self.cache)?;
        let wanted = CacheTag { proof: self.proof, sector: self.sector, ticket: self.ticket, comm_d, layers_synced: 0 };
        let found = cache_tag::read::<CacheTag>(self.cache)?.filter(|tag| tag.is_same_work(&wanted));
        let layers_kept = found.as_ref().map_or(0, |tag| tag.layers_synced);
        let tree_d_kept = cache_tag::read::<TreeDTag>(self.cache)? == Some(TreeDTag { proof: self.proof, comm_d });
        let keep = |name: &str| {
            (tree_d_kept && name == "sc-02-data-tree-d.dat")
                || (1..=layers_kept).any(|layer| name == format!("sc-02-data-layer-{layer}.dat"))
        };
        for path in file::files_with_prefix(self.cache, "")? {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if keep(&name) {
                continue;
            }
            if !name.starts_with("sc-02-data-") && name != "p_aux" && name != "t_aux" {
                return Err(StageFailure::bad_input(format!("{} does not belong in a cache folder", path.display())));
            }
            host::durable::remove_file(&path)?;
        }
        if layers_kept > 0 {
            tracing::info!(sector = %self.sector, layers = layers_kept, "layers of an earlier run are kept");
        }
        let tag = found.unwrap_or(wanted);
        cache_tag::write(self.cache, &tag)?;
        Ok(tag)
    }

    /// Labels, with a second thread that notes each finished layer.
    fn label(
        &self,
        tiles: &[PieceInfo],
        tag: &CacheTag,
        progress: &dyn Progress,
    ) -> Result<filecoin_proofs_api::seal::SealPreCommitPhase1Output, StageFailure> {
        let staged = self.staged.unwrap_or_else(|| Path::new(file::ZEROS));
        let (stop, stopped) = mpsc::channel::<()>();
        let labelled = thread::scope(|scope| {
            scope.spawn(move || self.watch_layers(tag, &stopped, progress));
            let labelled = catch(|| {
                seal_pre_commit_phase1(
                    registered_seal(self.proof),
                    self.cache,
                    staged,
                    self.sealed,
                    prover_id(self.sector.miner),
                    sector_id(self.sector.number),
                    self.ticket.0,
                    tiles,
                )
            });
            drop(stop);
            labelled
        });
        labelled?.map_err(|error| {
            if format!("{error:#}").contains("pieces and comm_d do not match") {
                return data_differs(tag.comm_d, Bytes32([0; 32]));
            }
            error.context("label the sector").into()
        })
    }

    /// Until `stopped` is closed: syncs each layer that appears and writes it down, so that a restart may keep it.
    fn watch_layers(&self, tag: &CacheTag, stopped: &mpsc::Receiver<()>, progress: &dyn Progress) {
        let total = self.proof.layers();
        let mut tag = tag.clone();
        loop {
            let current = (tag.layers_synced + 1).min(total);
            let layers = |count: u32| u64::from(count).saturating_mul(self.proof.sector_size());
            let how_far = HowFar::bytes(layers(tag.layers_synced), layers(total));
            progress.tell(&format!("layer {current} of {total}"), how_far);
            match stopped.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            let layer = file::data_path(self.cache, &format!("layer-{}", tag.layers_synced + 1));
            // The library renames a layer into place when it is whole.
            if tag.layers_synced < total && layer.exists() {
                tag.layers_synced += 1;
                let noted = file::sync(&layer)
                    .and_then(|()| cache_tag::write(self.cache, &tag).context("note the layer").map_err(Into::into));
                if let Err(error) = noted {
                    tracing::warn!(sector = %self.sector, "a finished layer could not be noted: {error}");
                    tag.layers_synced -= 1;
                }
            }
        }
    }
}

fn data_differs(want: Commitment, found: Commitment) -> StageFailure {
    let found = if found.0 == [0; 32] { "another".to_owned() } else { found.to_string() };
    let message = format!("the staged data has CommD {found}, its pieces have {want}");
    StageFailure::BadEarlierWork { from: Stage::AddPiece, code: "data-differs", message }
}
