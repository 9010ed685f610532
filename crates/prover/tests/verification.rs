//! Verification of stored proofs, and of the same proofs with one thing changed. Needs verifying keys alone.
//!
//! `cargo run -p prover --example fixtures` made the fixtures, with the devnet parameters.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::sync::Once;

use prover::{RealVerifier, SealStatement, Verifier as _, WindowPostStatement, params};
use serde::Deserialize;
use streams::{
    id::{MinerId, SectorNumber},
    proof::{Bytes32, Commitment, Drawn, ProofBytes, SealProof},
};

#[derive(Deserialize)]
struct SealFixture {
    proof: SealProof,
    miner: MinerId,
    number: SectorNumber,
    comm_r: Commitment,
    comm_d: Commitment,
    ticket: Drawn,
    seed: Drawn,
    proof_bytes: ProofBytes,
}

#[derive(Deserialize)]
struct WindowPostFixture {
    proof: SealProof,
    miner: MinerId,
    randomness: Bytes32,
    sectors: Vec<(SectorNumber, Commitment)>,
    proof_bytes: ProofBytes,
}

fn verifying_keys() {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        if std::env::var_os("FIL_PROOFS_PARAMETER_CACHE").is_none() {
            panic!("FIL_PROOFS_PARAMETER_CACHE is not set: run through make test");
        }
        let folder = params::folder_in_use();
        params::ensure_verifying_keys(SealProof::Drg2KiBV1_1, &params::Circuit::SEALING, &folder).unwrap();
    });
}

fn seal() -> (SealStatement, Vec<u8>) {
    verifying_keys();
    let f: SealFixture = serde_json::from_str(include_str!("fixtures/seal-2kib.json")).unwrap();
    let SealFixture { proof, miner, number, comm_r, comm_d, ticket, seed, proof_bytes } = f;
    (SealStatement { proof, miner, number, comm_r, comm_d, ticket, seed }, proof_bytes.0)
}

fn window_post() -> (WindowPostStatement, Vec<u8>) {
    verifying_keys();
    let f: WindowPostFixture = serde_json::from_str(include_str!("fixtures/window-post-2kib.json")).unwrap();
    let WindowPostFixture { proof, miner, randomness, sectors, proof_bytes } = f;
    (WindowPostStatement { proof, miner, randomness, sectors }, proof_bytes.0)
}

fn other(drawn: Drawn) -> Drawn {
    Drawn { value: flip(drawn.value), ..drawn }
}

fn flip(bytes: Bytes32) -> Bytes32 {
    let mut bytes = bytes.0;
    bytes.first_mut().into_iter().for_each(|b| *b ^= 1);
    Bytes32(bytes)
}

/// The same proof with a bit changed in each of several bytes, cut, and extended.
fn tampered(proof: &[u8]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = (0..proof.len())
        .step_by(13)
        .map(|at| proof.iter().enumerate().map(|(i, b)| if i == at { b ^ 1 } else { *b }).collect())
        .collect();
    out.push(proof.iter().copied().skip(1).collect());
    out.push(proof.iter().copied().chain([0]).collect());
    out.push(Vec::new());
    out.push(vec![0xff; proof.len()]);
    out.push(proof.repeat(2));
    out
}

#[test]
fn a_seal_verifies() {
    let (statement, proof) = seal();
    assert!(RealVerifier::new().seal(&statement, &proof).unwrap());
}

#[test]
fn a_tampered_seal_does_not_verify() {
    let (statement, proof) = seal();
    for bytes in tampered(&proof) {
        assert!(!RealVerifier::new().seal(&statement, &bytes).unwrap(), "{bytes:?}");
    }
}

#[test]
fn a_seal_is_bound_to_each_of_its_inputs() {
    let (good, proof) = seal();
    let zero = Bytes32([0; 32]);
    let not_an_element = Bytes32([0xff; 32]);
    for changed in [
        SealStatement { miner: MinerId(good.miner.0 + 1), ..good.clone() },
        SealStatement { number: SectorNumber(good.number.0 + 1), ..good.clone() },
        SealStatement { ticket: other(good.ticket), ..good.clone() },
        SealStatement { seed: other(good.seed), ..good.clone() },
        SealStatement { comm_r: flip(good.comm_r), ..good.clone() },
        SealStatement { comm_d: flip(good.comm_d), ..good.clone() },
        SealStatement { comm_r: zero, ..good.clone() },
        SealStatement { comm_d: zero, ..good.clone() },
        SealStatement { comm_r: not_an_element, ..good.clone() },
    ] {
        assert!(!RealVerifier::new().seal(&changed, &proof).unwrap(), "{changed:?}");
    }
}

#[test]
fn bytes_that_are_no_aggregate_do_not_verify() {
    let (statement, proof) = seal();
    for bytes in [Vec::new(), proof, vec![0xff; 8212], vec![1; 8212]] {
        assert!(!RealVerifier::new().aggregate(&[statement.clone(), statement.clone()], &bytes).unwrap());
    }
    assert!(!RealVerifier::new().aggregate(&[], &[]).unwrap());
}

#[test]
fn a_window_post_verifies() {
    let (statement, proof) = window_post();
    assert!(RealVerifier::new().window_post(&statement, &proof).unwrap());
}

#[test]
fn a_tampered_window_post_does_not_verify() {
    let (statement, proof) = window_post();
    for bytes in tampered(&proof) {
        assert!(!RealVerifier::new().window_post(&statement, &bytes).unwrap(), "{bytes:?}");
    }
}

#[test]
fn a_window_post_is_bound_to_its_randomness_and_sectors() {
    let (good, proof) = window_post();
    let with = |sectors| WindowPostStatement { sectors, ..good.clone() };
    let renamed = good.sectors.iter().map(|(n, r)| (SectorNumber(n.0 + 1), *r)).collect();
    let replaced = good.sectors.iter().map(|(n, r)| (*n, flip(*r))).collect();
    let twice = good.sectors.iter().chain(&good.sectors).copied().collect();
    // The miner is no input of the circuit: challenges depend on the randomness, which the chain draws per miner.
    for changed in [
        WindowPostStatement { randomness: flip(good.randomness), ..good.clone() },
        with(renamed),
        with(replaced),
        with(twice),
        with(Vec::new()),
    ] {
        assert!(!RealVerifier::new().window_post(&changed, &proof).unwrap(), "{changed:?}");
    }
}
