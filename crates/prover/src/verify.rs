//! Verification as a library: what the coordinator, the poster and the devnet ask before they believe a proof.

use streams::{
    id::{MinerId, SectorNumber},
    proof::{Bytes32, Commitment, Drawn, SealProof},
};

/// Exactly the inputs a PoRep is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealStatement {
    /// The proof type.
    pub proof: SealProof,
    /// The miner: the prover id is its ID address payload padded with zeros.
    pub miner: MinerId,
    /// The sector's number.
    pub number: SectorNumber,
    /// CommR.
    pub comm_r: Commitment,
    /// CommD.
    pub comm_d: Commitment,
    /// The ticket.
    pub ticket: Drawn,
    /// The seed.
    pub seed: Drawn,
}

/// Exactly the inputs a window PoSt is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPostStatement {
    /// The seal proof type of its sectors; the PoSt type follows from it.
    pub proof: SealProof,
    /// The miner.
    pub miner: MinerId,
    /// Challenge randomness (bits 254 and 255 are cleared before use).
    pub randomness: Bytes32,
    /// The proven sectors, ascending. Sectors of several partitions are listed partition by partition.
    pub sectors: Vec<(SectorNumber, Commitment)>,
}

/// A statement that could not be checked at all (which is not the same as a proof that is wrong).
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No verifying key for this circuit in the parameter cache.
    #[error("verifying key for {circuit} is missing in {}: run `prover params` for a devnet, or fetch the published parameters", folder.display())]
    MissingKey {
        /// Which circuit.
        circuit: String,
        /// Where it was looked for.
        folder: std::path::PathBuf,
    },
    /// The library failed.
    #[error("verification could not run: {0}")]
    Library(String),
}

/// Environment variable by which a build with fake proofs verifies those instead of real ones.
#[cfg(feature = "fake-proofs")]
pub const FAKE_PROOFS: &str = "SEALSTREAM_FAKE_PROOFS";

/// What this program verifies with: real proofs.
#[cfg(not(feature = "fake-proofs"))]
#[must_use]
pub fn verifier() -> std::sync::Arc<dyn Verifier> {
    std::sync::Arc::new(crate::RealVerifier::new())
}

/// What this program verifies with: real proofs, unless [`FAKE_PROOFS`] is set.
#[cfg(feature = "fake-proofs")]
#[must_use]
pub fn verifier() -> std::sync::Arc<dyn Verifier> {
    if std::env::var_os(FAKE_PROOFS).is_none() {
        return std::sync::Arc::new(crate::RealVerifier::new());
    }
    tracing::warn!("{}", crate::FAKE_PROOFS_MARKER);
    std::sync::Arc::new(crate::fake::FakeVerifier)
}

/// What verifies. The one that ships is [`crate::RealVerifier`]; no configuration selects another.
pub trait Verifier: Send + Sync + 'static {
    /// Whether `proof_bytes` proves the statement. Malformed bytes are `Ok(false)`.
    fn seal(&self, statement: &SealStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError>;

    /// Whether `proof_bytes` (SnarkPackV2) proves all statements, in order.
    fn aggregate(&self, statements: &[SealStatement], proof_bytes: &[u8]) -> Result<bool, VerifyError>;

    /// Whether `proof_bytes` proves the statement. Malformed bytes are `Ok(false)`.
    fn window_post(&self, statement: &WindowPostStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError>;
}
