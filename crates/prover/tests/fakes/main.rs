//! What stands in for the real prover and its proofs.

#![cfg(feature = "fake-proofs")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod proofs;
mod prover;

use ::prover::SealStatement;
use streams::{
    id::{MinerId, SectorNumber},
    proof::{Bytes32, Drawn, SealProof},
};

const STATEMENT: SealStatement = SealStatement {
    proof: SealProof::Drg2KiBV1_1,
    miner: MinerId(1000),
    number: SectorNumber(1),
    comm_r: Bytes32([1; 32]),
    comm_d: Bytes32([2; 32]),
    ticket: Drawn { epoch: 1, value: Bytes32([3; 32]) },
    seed: Drawn { epoch: 2, value: Bytes32([4; 32]) },
};
