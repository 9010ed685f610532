//! Verification of a partition's proof, before anybody else sees it.

use std::sync::Arc;

use anyhow::Context as _;
use prover::verify::{Verifier, WindowPostStatement};
use streams::{
    id::SectorNumber,
    proof::{Commitment, ProofBytes},
};

use crate::facts::Facts;

/// Checks proofs away from the threads that serve the network: a partition of 2,349 sectors takes a core for a while.
#[derive(Clone)]
pub(crate) struct Checker {
    verifier: Arc<dyn Verifier>,
}

impl Checker {
    pub(crate) fn new(verifier: Arc<dyn Verifier>) -> Self {
        Self { verifier }
    }

    /// Whether `proof` proves these sectors of a miner, listed partition by partition.
    pub(crate) async fn proves(
        &self,
        facts: &Facts,
        sectors: Vec<(SectorNumber, Commitment)>,
        proof: ProofBytes,
    ) -> anyhow::Result<bool> {
        let statement = WindowPostStatement {
            proof: facts.proof,
            miner: facts.window.miner,
            randomness: facts.randomness,
            sectors,
        };
        let verifier = Arc::clone(&self.verifier);
        host::offload::offload(move || verifier.window_post(&statement, &proof.0))
            .await
            .context("verify proof")?
            .context("verify proof")
    }
}

/// These sectors of a partition with their commitments; `None` when one of them is not to be proven.
pub(crate) fn with_commitments(
    facts: &Facts,
    partition: u64,
    numbers: &[SectorNumber],
) -> Option<Vec<(SectorNumber, Commitment)>> {
    let to_prove = &facts.partitions.get(&partition)?.to_prove;
    numbers.iter().map(|number| to_prove.get(number).map(|target| (*number, target.comm_r))).collect()
}
