//! Makes `tests/fixtures/`: one seal and one window PoSt at 2 KiB, with the devnet parameters.
//!
//! ```text
//! prover params --sector-size 2KiB
//! FIL_PROOFS_PARAMETER_CACHE=~/.cache/sealstream/devnet-parameters cargo run -p prover --example fixtures
//! ```
//!
//! Proofs are randomised, so another run writes other bytes that verify as well.

use std::path::Path;

use anyhow::{Context as _, bail};
use prover::{
    Silent,
    job::{Output, Replica, Request, Work},
    stage,
};
use serde_json::json;
use streams::{
    id::{MinerId, SectorId, SectorNumber},
    proof::{Bytes32, Drawn, SealProof},
};

const PROOF: SealProof = SealProof::Drg2KiBV1_1;

fn run(work: Work) -> anyhow::Result<Output> {
    let name = work.name();
    stage::run(&Request { proof: PROOF, work }, &Silent).context(name)
}

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let dir = tempfile::tempdir()?;
    let [cache, sealed, pc1_output, c1_output, vanilla] =
        ["cache", "sealed", "pc1", "c1", "vanilla"].map(|name| dir.path().join(name));
    let sector = SectorId { miner: MinerId(1000), number: SectorNumber(7) };
    let ticket = Drawn { epoch: 100, value: Bytes32([0x11; 32]) };
    let seed = Drawn { epoch: 250, value: Bytes32([0x22; 32]) };
    run(Work::Pc1 {
        sector,
        ticket,
        pieces: Vec::new(),
        staged: None,
        cache: cache.clone(),
        sealed: sealed.clone(),
        pc1_output: pc1_output.clone(),
    })?;
    let pc2 = Work::Pc2 { sector, pc1_output, staged: None, cache: cache.clone(), sealed: sealed.clone() };
    let Output::Pc2 { comm_d, comm_r } = run(pc2)? else { bail!("not pc2") };
    run(Work::C1 {
        sector,
        ticket,
        seed,
        pieces: Vec::new(),
        comm_d,
        comm_r,
        cache: cache.clone(),
        sealed: sealed.clone(),
        c1_output: c1_output.clone(),
    })?;
    let Output::C2 { proof } = run(Work::C2 { sector, comm_d, comm_r, ticket, seed, c1_output })? else {
        bail!("not c2")
    };
    let text = json!({
        "proof": PROOF, "miner": sector.miner, "number": sector.number, "comm_r": comm_r, "comm_d": comm_d,
        "ticket": ticket, "seed": seed, "proof_bytes": proof,
    });
    host::durable::write(&folder.join("seal-2kib.json"), &serde_json::to_vec_pretty(&text)?)?;

    let (miner, number, randomness) = (sector.miner, sector.number, Bytes32([0x33; 32]));
    let sectors = vec![Replica { number, comm_r, sealed, cache }];
    run(Work::VanillaPost { miner, randomness, order: vec![number], sectors, output: vanilla.clone() })?;
    let sectors = vec![(number, comm_r)];
    let vanilla = vec![(vanilla, vec![number])];
    let Output::WindowPost { proof } = run(Work::WindowPost { miner, randomness, sectors: sectors.clone(), vanilla })?
    else {
        bail!("not window-post")
    };
    let text = json!({
        "proof": PROOF, "miner": miner, "randomness": randomness, "sectors": sectors, "proof_bytes": proof,
    });
    host::durable::write(&folder.join("window-post-2kib.json"), &serde_json::to_vec_pretty(&text)?)?;
    Ok(())
}
