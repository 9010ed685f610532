//! Proofs that prove what a digest can: whoever mixes up a ticket, a seed or a commitment is found out.

use prover::{SealStatement, Verifier, VerifyError, WindowPostStatement};
use sha2::{Digest as _, Sha256};

/// Accepts the one proof of each statement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digests;

impl Verifier for Digests {
    fn seal(&self, statement: &SealStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        Ok(proof_bytes == seal_proof(statement))
    }

    fn aggregate(&self, _: &[SealStatement], _: &[u8]) -> Result<bool, VerifyError> {
        Ok(false)
    }

    fn window_post(&self, statement: &WindowPostStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        Ok(!statement.sectors.is_empty() && proof_bytes == window_proof(statement))
    }
}

/// The proof of a seal.
pub(crate) fn seal_proof(statement: &SealStatement) -> Vec<u8> {
    let SealStatement { proof, miner, number, comm_r, comm_d, ticket, seed } = statement;
    stretch(&format!("seal {} {miner} {number} {comm_r} {comm_d} {} {}", proof.number(), ticket.value, seed.value))
}

/// The proof of a window.
pub(crate) fn window_proof(statement: &WindowPostStatement) -> Vec<u8> {
    let WindowPostStatement { miner, randomness, sectors, .. } = statement;
    let randomness = chain::randomness::clear_top_bits(*randomness);
    stretch(&format!("window {miner} {randomness} {sectors:?}"))
}

fn stretch(words: &str) -> Vec<u8> {
    const PROOF_BYTES: usize = 192;
    Sha256::digest(words).iter().copied().cycle().take(PROOF_BYTES).collect()
}
