//! Vanilla window-PoSt proofs, where the replicas are. A sector that cannot be proven is named, and the others go on.

use std::path::Path;

use base64::Engine as _;
use filecoin_proofs_api::{
    PrivateReplicaInfo,
    post::{generate_fallback_sector_challenges, generate_single_vanilla_proof},
};
use streams::{
    id::{MinerId, SectorNumber},
    proof::{Bytes32, SealProof},
};

use super::{file, replica};
use crate::{
    failure::StageFailure,
    job::{Output, Replica},
    library::{catch, post_randomness, prover_id, registered_window_post, sector_id},
    progress::{HowFar, Progress},
};

pub(super) fn run(
    proof: SealProof,
    miner: MinerId,
    randomness: Bytes32,
    order: &[SectorNumber],
    sectors: &[Replica],
    output: &Path,
    progress: &dyn Progress,
) -> Result<Output, StageFailure> {
    check(order, sectors)?;
    let post = registered_window_post(proof);
    let ids: Vec<_> = order.iter().map(|number| sector_id(*number)).collect();
    let randomness = post_randomness(randomness);
    let challenges = catch(|| generate_fallback_sector_challenges(post, &randomness, &ids, prover_id(miner)))?
        .map_err(|error| error.context("draw challenges"))?;
    let (mut proven, mut bad, mut proofs) = (Vec::new(), Vec::new(), Vec::new());
    for replica in sectors {
        progress.tell("vanilla proofs", HowFar::Of(count(proven.len() + bad.len()), count(sectors.len())));
        let id = sector_id(replica.number);
        let challenged = challenges
            .get(&id)
            .ok_or_else(|| StageFailure::bad_input(format!("sector {} has no challenges", replica.number)))?;
        if let Err(error) = replica::require(&replica.cache, replica.comm_r) {
            bad.push((replica.number, format!("{error:#}")));
            continue;
        }
        let info = PrivateReplicaInfo::new(post, replica.comm_r.0, replica.cache.clone(), replica.sealed.clone());
        match catch(|| generate_single_vanilla_proof(post, id, &info, challenged)) {
            Ok(Ok(bytes)) => {
                proven.push(replica.number);
                proofs.push(base64::engine::general_purpose::STANDARD.encode(bytes));
            }
            Ok(Err(error)) => bad.push((replica.number, format!("{error:#}"))),
            Err(panicked) => bad.push((replica.number, panicked.to_string())),
        }
    }
    file::write_json(output, &proofs)?;
    Ok(Output::VanillaPost { proven, bad })
}

/// Challenges depend on a sector's place in the order, so the order must be one.
fn check(order: &[SectorNumber], sectors: &[Replica]) -> Result<(), StageFailure> {
    if !order.is_sorted_by(|a, b| a < b) {
        return Err(StageFailure::bad_input("the order of the partition's sectors is not ascending"));
    }
    match sectors.iter().find(|replica| order.binary_search(&replica.number).is_err()) {
        None => Ok(()),
        Some(stray) => {
            Err(StageFailure::bad_input(format!("sector {} is not among the partition's sectors", stray.number)))
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
