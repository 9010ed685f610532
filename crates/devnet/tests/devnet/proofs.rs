//! Real proofs, verified by the program that ships.

use chain::params::{self, method};
use prover::params::{Circuit, devnet_folder, ensure_verifying_keys};
use serde_json::{Value, json};

use crate::{
    fixture::{Fixture, PRE_COMMIT_EPOCH, PROVE_EPOCH, Sealed, pre_commit},
    miner::{Miner, PROOF, proven},
    node::genesis,
    program::Program,
    wallet::{base64, whole},
};

/// The devnet program, with verifying keys of the devnet's parameters.
fn program() -> Program {
    let keys = devnet_folder().unwrap();
    ensure_verifying_keys(PROOF, &[Circuit::Porep, Circuit::WindowPost], &keys).unwrap();
    Program::start(&genesis(), Some(&keys))
}

/// Pre-commits the three sectors; the head is before the block that proves them.
async fn pre_committed<'a>(miner: &Miner<'a>, fixture: &Fixture) {
    let node = miner.node;
    node.advance_to(PRE_COMMIT_EPOCH - 1).await;
    let sectors = [&fixture.good, &fixture.wrong_ticket, &fixture.wrong_seed].map(pre_commit);
    assert_eq!(miner.pre_commit(&sectors).await["ExitCode"], 0);
    node.advance_to(PROVE_EPOCH - 1).await;
}

async fn push_proof(miner: &Miner<'_>, sealed: &Sealed, proof: &[u8]) -> Value {
    let params = params::prove_commit(&[proven(sealed.number.0, proof)]).unwrap();
    let to = fvm_shared::address::Address::new_id(1000);
    miner.push(to, method::PROVE_COMMIT_SECTORS3, whole(1), params).await
}

async fn exit_code(miner: &Miner<'_>, cid: &Value) -> Value {
    miner.node.get("StateSearchMsg", json!([[], cid, -1, true])).await["Receipt"].clone()
}

fn one_byte_changed(proof: &[u8]) -> Vec<u8> {
    let mut changed = proof.to_vec();
    changed[100] ^= 1;
    changed
}

#[tokio::test]
async fn a_sector_sealed_for_this_chain_is_proven_and_another_is_not() {
    let fixture = Fixture::read();
    let program = program();
    let miner = Miner::create(program.node()).await;
    let node = miner.node;
    pre_committed(&miner, &fixture).await;

    let altered = push_proof(&miner, &fixture.good, &one_byte_changed(&fixture.good.proof.0)).await;
    let wrong_ticket = push_proof(&miner, &fixture.wrong_ticket, &fixture.wrong_ticket.proof.0).await;
    let wrong_seed = push_proof(&miner, &fixture.wrong_seed, &fixture.wrong_seed.proof.0).await;
    let good = push_proof(&miner, &fixture.good, &fixture.good.proof.0).await;
    node.advance(2).await;
    assert_eq!(exit_code(&miner, &altered).await["ExitCode"], 16, "one byte changed");
    assert_eq!(exit_code(&miner, &wrong_ticket).await["ExitCode"], 16, "a ticket drawn with another tag");
    assert_eq!(exit_code(&miner, &wrong_seed).await["ExitCode"], 16, "a seed drawn with another tag");
    let receipt = exit_code(&miner, &good).await;
    assert_eq!((&receipt["ExitCode"], &receipt["Return"]), (&json!(0), &json!(base64(&[0x82, 0x01, 0x80]))));

    let (deadline, partition) = miner.location(1).await;
    assert_eq!(deadline, fixture.deadline);
    let now = miner.advance_into(deadline).await;
    assert_eq!(now["Challenge"], fixture.challenge);
    let altered = miner.post(deadline, partition, &one_byte_changed(&fixture.post.0)).await;
    assert_eq!(miner.submit_post(&altered).await["ExitCode"], 16, "one byte of the PoSt changed");
    let post = miner.post(deadline, partition, &fixture.post.0).await;
    assert_eq!(miner.submit_post(&post).await["ExitCode"], 0);
    let index = usize::try_from(deadline).unwrap();
    assert_eq!(miner.get("StateMinerDeadlines").await[index]["PostSubmissions"], json!([0, 1]));
    assert_eq!(miner.power().await, json!({"RawBytePower": "2048", "QualityAdjPower": "2048"}));
}
