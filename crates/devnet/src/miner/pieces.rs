//! Pieces of a sector that is being activated: their sum must be the CommD of the pre-commit.

use fil_actor_miner_state::v18::{PieceActivationManifest, SectorActivationManifest, SectorPreCommitOnChainInfo};
use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorError, BatchReturn, BatchReturnGen},
};
use fvm_shared::{bigint::BigInt, error::ExitCode};
use prover::job::PieceCommitment;

use super::seal::seal_proof;

/// A sector and what is to be put in it.
pub(super) type Activation<'a> = (&'a SectorActivationManifest, &'a SectorPreCommitOnChainInfo);

/// Checks the data of each sector; returns which may be activated, and the bytes of data in each of those.
///
/// There is no registry of verified clients here, so a piece that claims an allocation finds none.
pub(super) fn activate(
    sectors: &[Activation<'_>],
    all_or_nothing: bool,
) -> Result<(BatchReturn, Vec<BigInt>), ActorError> {
    for (manifest, pre_commit) in sectors {
        check_comm_d(manifest, pre_commit)?;
    }
    let mut batch = BatchReturnGen::new(sectors.len());
    let mut data = Vec::with_capacity(sectors.len());
    for (manifest, _) in sectors {
        if manifest.pieces.iter().all(|piece| piece.verified_allocation_key.is_none()) {
            batch.add_success();
            data.push(manifest.pieces.iter().map(|piece| BigInt::from(piece.size.0)).sum());
        } else if all_or_nothing {
            return Err(actor_error_v18!(not_found, "no allocation for a piece of sector {}", manifest.sector_number));
        } else {
            batch.add_fail(ExitCode::USR_NOT_FOUND);
        }
    }
    Ok((batch.generate(), data))
}

fn check_comm_d(
    manifest: &SectorActivationManifest,
    pre_commit: &SectorPreCommitOnChainInfo,
) -> Result<(), ActorError> {
    let proof = pre_commit.info.seal_proof;
    let declared = pre_commit.info.unsealed_cid.get_cid(proof)?;
    let computed = if manifest.pieces.is_empty() {
        fil_actor_miner_state::v18::CompactCommD::empty().get_cid(proof)?
    } else {
        let pieces = placed(&manifest.pieces)?;
        let comm_d = prover::comm_d(seal_proof(proof)?, &pieces)
            .map_err(|e| actor_error_v18!(illegal_argument, "failed to compute unsealed sector CID: {}", e))?;
        chain::cids::unsealed(&comm_d).map_err(|e| actor_error_v18!(illegal_argument, e))?
    };
    if declared == computed {
        return Ok(());
    }
    Err(actor_error_v18!(
        illegal_argument,
        "unsealed CID does not match pieces for sector {}, computed {} declared {}",
        manifest.sector_number,
        computed,
        declared
    ))
}

/// Pieces lie in order, each at the next multiple of its own size.
fn placed(pieces: &[PieceActivationManifest]) -> Result<Vec<PieceCommitment>, ActorError> {
    let mut end = 0u64;
    let mut placed = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let size = piece.size.0;
        let too_long = || actor_error_v18!(illegal_argument, "piece of {} bytes does not fit", size);
        let offset = end.checked_next_multiple_of(size).ok_or_else(too_long)?;
        let commitment = chain::cids::comm_d(&piece.cid).map_err(|e| actor_error_v18!(illegal_argument, e))?;
        placed.push(PieceCommitment { commitment, padded_bytes: size, offset_padded: offset });
        end = offset.checked_add(size).ok_or_else(too_long)?;
    }
    Ok(placed)
}
