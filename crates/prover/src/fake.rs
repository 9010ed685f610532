//! Proofs that prove nothing, for tests with thousands of sectors. Only behind the feature `fake-proofs`.
//!
//! A fake proof is a digest over exactly the inputs that the real one is bound to, so whoever mixes up a ticket, a seed
//! or a commitment is found out here as well.

use sha2::{Digest as _, Sha512};

use crate::{
    FAKE_PROOFS_MARKER,
    library::{PROOF_BYTES, post_randomness, registered_seal, registered_window_post},
    verify::{SealStatement, Verifier, VerifyError, WindowPostStatement},
};

/// The verifier of fake proofs.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeVerifier;

impl Verifier for FakeVerifier {
    fn seal(&self, statement: &SealStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        Ok(proof_bytes == seal_proof(statement))
    }

    fn aggregate(&self, statements: &[SealStatement], proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        Ok(!statements.is_empty() && proof_bytes == aggregate_proof(statements))
    }

    fn window_post(&self, statement: &WindowPostStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        Ok(!statement.sectors.is_empty() && proof_bytes == window_post_proof(statement))
    }
}

/// The one proof of a seal that [`FakeVerifier`] accepts, as long as a real one.
#[must_use]
pub fn seal_proof(statement: &SealStatement) -> Vec<u8> {
    let partitions = usize::from(registered_seal(statement.proof).partitions());
    stretch(seal_digest(Sha512::new().chain_update("seal"), statement), partitions)
}

/// The one aggregate that [`FakeVerifier`] accepts.
#[must_use]
pub fn aggregate_proof(statements: &[SealStatement]) -> Vec<u8> {
    stretch(statements.iter().fold(Sha512::new().chain_update("aggregate"), seal_digest), 1)
}

/// The one window PoSt that [`FakeVerifier`] accepts, as long as a real one.
#[must_use]
pub fn window_post_proof(statement: &WindowPostStatement) -> Vec<u8> {
    let mut digest = Sha512::new()
        .chain_update("window-post")
        .chain_update(statement.proof.number().to_le_bytes())
        .chain_update(statement.miner.0.to_le_bytes())
        .chain_update(post_randomness(statement.randomness));
    for (number, comm_r) in &statement.sectors {
        digest.update(number.0.to_le_bytes());
        digest.update(comm_r.0);
    }
    let partitions = statement.sectors.len().div_ceil(registered_window_post(statement.proof).sector_count());
    stretch(digest, partitions)
}

/// Epochs are not part of it: a real proof is bound to the drawn values alone.
fn seal_digest(digest: Sha512, statement: &SealStatement) -> Sha512 {
    digest
        .chain_update(statement.proof.number().to_le_bytes())
        .chain_update(statement.miner.0.to_le_bytes())
        .chain_update(statement.number.0.to_le_bytes())
        .chain_update(statement.ticket.value.0)
        .chain_update(statement.seed.value.0)
        .chain_update(statement.comm_r.0)
        .chain_update(statement.comm_d.0)
}

fn stretch(digest: Sha512, proofs: usize) -> Vec<u8> {
    let digest = digest.chain_update(FAKE_PROOFS_MARKER).finalize();
    digest.iter().copied().cycle().take(PROOF_BYTES * proofs).collect()
}
