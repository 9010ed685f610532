//! What a fake proof is bound to.

use ::prover::{
    SealStatement, Verifier as _, WindowPostStatement,
    fake::{FakeVerifier, seal_proof, window_post_proof},
};
use streams::{
    id::{MinerId, SectorNumber},
    proof::{Bytes32, Drawn, SealProof},
};

use super::STATEMENT;

#[test]
fn each_input_is_bound() {
    let good = STATEMENT;
    let proof = seal_proof(&good);
    assert_eq!(proof.len(), 192);
    assert!(FakeVerifier.seal(&good, &proof).unwrap());
    let other = Bytes32([9; 32]);
    for changed in [
        SealStatement { miner: MinerId(1001), ..good.clone() },
        SealStatement { number: SectorNumber(2), ..good.clone() },
        SealStatement { comm_r: other, ..good.clone() },
        SealStatement { comm_d: other, ..good.clone() },
        SealStatement { ticket: Drawn { epoch: 1, value: other }, ..good.clone() },
        SealStatement { seed: Drawn { epoch: 2, value: other }, ..good.clone() },
    ] {
        assert!(!FakeVerifier.seal(&changed, &proof).unwrap(), "{changed:?}");
    }
}

#[test]
fn a_window_post_is_bound_to_its_sectors_and_randomness() {
    let good = WindowPostStatement {
        proof: SealProof::Drg2KiBV1_1,
        miner: MinerId(1000),
        randomness: Bytes32([5; 32]),
        sectors: vec![(SectorNumber(1), Bytes32([1; 32])), (SectorNumber(2), Bytes32([2; 32]))],
    };
    let proof = window_post_proof(&good);
    assert!(FakeVerifier.window_post(&good, &proof).unwrap());
    let fewer = WindowPostStatement { sectors: good.sectors.iter().copied().take(1).collect(), ..good.clone() };
    let later = WindowPostStatement { randomness: Bytes32([6; 32]), ..good.clone() };
    for changed in [fewer, later, WindowPostStatement { miner: MinerId(1001), ..good }] {
        assert!(!FakeVerifier.window_post(&changed, &proof).unwrap(), "{changed:?}");
    }
}
