//! The SNARK of a partition, from vanilla proofs made elsewhere. No proof leaves here that does not verify.

use std::{collections::BTreeMap, path::PathBuf};

use base64::Engine as _;
use filecoin_proofs_api::post::generate_window_post_with_vanilla;
use streams::{id::SectorNumber, proof::ProofBytes};

use crate::{
    failure::{HOW_TO_GET_PARAMS, StageFailure},
    job::Output,
    library::{catch, post_randomness, prover_id, registered_window_post},
    progress::{HowFar, Progress},
    real::RealVerifier,
    verify::{Verifier as _, WindowPostStatement},
};

pub(super) fn run(
    statement: &WindowPostStatement,
    vanilla: &[(PathBuf, Vec<SectorNumber>)],
    progress: &dyn Progress,
) -> Result<Output, StageFailure> {
    if statement.sectors.is_empty() || !statement.sectors.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(StageFailure::bad_input("the proven sectors are not an ascending list"));
    }
    let post = registered_window_post(statement.proof);
    let params = catch(|| post.cache_params_path())??;
    if !params.exists() {
        let size = statement.proof.size_name();
        return Err(StageFailure::MissingParams(format!(
            "window PoSt parameters for {size} sectors are missing ({}): {HOW_TO_GET_PARAMS}",
            params.display()
        )));
    }
    let mut by_number = read_vanilla(vanilla)?;
    let proofs = statement
        .sectors
        .iter()
        .map(|(number, _)| {
            by_number
                .remove(number)
                .ok_or_else(|| StageFailure::bad_input(format!("no vanilla proof of sector {number}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    progress.tell("groth16 proof", HowFar::Unknown);
    let randomness = post_randomness(statement.randomness);
    let miner = prover_id(statement.miner);
    let made = catch(|| generate_window_post_with_vanilla(post, &randomness, miner, &proofs))?
        .map_err(|error| error.context("make the proof"))?;
    let proof: Vec<u8> = made.into_iter().flat_map(|(_, bytes)| bytes).collect();
    progress.tell("verifying", HowFar::Unknown);
    if !RealVerifier::new().window_post(statement, &proof)? {
        return Err(StageFailure::DoesNotVerify("the proof does not verify".to_owned()));
    }
    Ok(Output::WindowPost { proof: ProofBytes(proof) })
}

fn read_vanilla(files: &[(PathBuf, Vec<SectorNumber>)]) -> Result<BTreeMap<SectorNumber, Vec<u8>>, StageFailure> {
    let mut by_number = BTreeMap::new();
    for (path, numbers) in files {
        let bad = |why: String| StageFailure::bad_input(format!("vanilla proofs {}: {why}", path.display()));
        let bytes = host::durable::read(path)
            .map_err(|error| bad(error.to_string()))?
            .ok_or_else(|| bad("the file is missing".to_owned()))?;
        let texts: Vec<String> = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if texts.len() != numbers.len() {
            return Err(bad(format!("{} proofs for {} sectors", texts.len(), numbers.len())));
        }
        for (number, text) in numbers.iter().zip(texts) {
            let proof = base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|error| bad(format!("sector {number}: {error}")))?;
            by_number.insert(*number, proof);
        }
    }
    Ok(by_number)
}
