//! Real sectors in a file, sealed once over the chain's own randomness, which follows from its seed.
//!
//! Three 2 KiB sectors are pre-committed in one message at epoch 11 and proven in one block at epoch 18. The first is
//! as it should be. The ticket of the second was drawn with the tag of seeds, and the seed of the third with the tag of
//! tickets: both proofs are valid ones, of something else. A window PoSt of the first is kept with them.
//!
//! ```text
//! FIL_PROOFS_PARAMETER_CACHE=~/.cache/sealstream/devnet-parameters \
//!     cargo test -p devnet --test devnet -- --ignored seal_the_fixture
//! ```

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chain::{
    params::PreCommitSector,
    randomness::{entropy, tag},
};
use devnet::Devnet;
use prover::{
    job::{self, JobResult, Output, Replica, Request, Work},
    params::{Circuit, devnet_folder, ensure, folder_in_use},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use streams::{
    id::{MinerId, SectorId, SectorNumber},
    message::encode,
    proof::{Bytes32, Commitment, Drawn, ProofBytes},
};

use crate::{
    miner::{Miner, PROOF, proven},
    node::{Node, Says, genesis},
    wallet::{base64, from_base64},
};

pub(crate) const MINER: MinerId = MinerId(1000);
pub(crate) const TICKET_EPOCH: i64 = 5;
pub(crate) const PRE_COMMIT_EPOCH: i64 = 11;
pub(crate) const SEED_EPOCH: i64 = 16;
pub(crate) const PROVE_EPOCH: i64 = 18;

/// A sealed sector.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) number: SectorNumber,
    pub(crate) comm_r: Commitment,
    pub(crate) proof: ProofBytes,
}

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fixture {
    pub(crate) good: Sealed,
    pub(crate) wrong_ticket: Sealed,
    pub(crate) wrong_seed: Sealed,
    pub(crate) deadline: u64,
    pub(crate) challenge: i64,
    pub(crate) post: ProofBytes,
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sectors.json")
}

impl Fixture {
    pub(crate) fn read() -> Self {
        serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap()
    }
}

/// The sector as it is pre-committed.
pub(crate) fn pre_commit(sealed: &Sealed) -> PreCommitSector {
    PreCommitSector {
        number: sealed.number,
        proof: PROOF,
        comm_r: sealed.comm_r,
        comm_d: None,
        ticket_epoch: TICKET_EPOCH,
        expiration: PRE_COMMIT_EPOCH + 200_000,
    }
}

pub(crate) async fn drawn(node: &Node, method: &str, tag: i64, epoch: i64) -> Drawn {
    let value = node.get(method, json!([tag, epoch, base64(&entropy(MINER)), []])).await;
    Drawn { epoch, value: Bytes32(from_base64(&value).try_into().unwrap()) }
}

/// Runs stages of one sector in a folder of its own.
struct Bench {
    folder: PathBuf,
    sector: SectorId,
}

impl Bench {
    fn new(root: &Path, number: u64) -> Self {
        let folder = root.join(number.to_string());
        std::fs::create_dir_all(folder.join("cache")).unwrap();
        Self { folder, sector: SectorId { miner: MINER, number: SectorNumber(number) } }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn run(&self, work: Work) -> Output {
        let job = self.folder.join(format!("job-{}", work.name()));
        std::fs::create_dir_all(&job).unwrap();
        let request = encode(&Request { proof: PROOF, work }).unwrap();
        host::durable::write(&job.join(job::REQUEST), &request).unwrap();
        match prover::run_job(&job).unwrap() {
            JobResult::Done { output, .. } => output,
            JobResult::Refused { code, message, .. } => panic!("{code}: {message}"),
        }
    }

    fn seal(&self, ticket: Drawn, seed: Drawn) -> Sealed {
        let (sector, cache, sealed) = (self.sector, self.at("cache"), self.at("sealed"));
        let (pc1_output, c1_output) = (self.at("pc1.json"), self.at("c1.json"));
        self.run(Work::TreeD { staged: None, cache: cache.clone() });
        self.run(Work::Pc1 {
            sector,
            ticket,
            pieces: vec![],
            staged: None,
            cache: cache.clone(),
            sealed: sealed.clone(),
            pc1_output: pc1_output.clone(),
        });
        let pc2 = Work::Pc2 { sector, pc1_output, staged: None, cache: cache.clone(), sealed: sealed.clone() };
        let Output::Pc2 { comm_d, comm_r } = self.run(pc2) else { panic!("no replica") };
        self.run(Work::C1 {
            sector,
            ticket,
            seed,
            pieces: vec![],
            comm_d,
            comm_r,
            cache,
            sealed,
            c1_output: c1_output.clone(),
        });
        let c2 = self.run(Work::C2 { sector, comm_d, comm_r, ticket, seed, c1_output });
        let Output::C2 { proof } = c2 else { panic!("no proof") };
        Sealed { number: sector.number, comm_r, proof }
    }

    fn window_post(&self, sealed: &Sealed, randomness: Bytes32) -> ProofBytes {
        let (number, output) = (sealed.number, self.at("vanilla.json"));
        let replica = Replica { number, comm_r: sealed.comm_r, sealed: self.at("sealed"), cache: self.at("cache") };
        self.run(Work::VanillaPost {
            miner: MINER,
            randomness,
            order: vec![number],
            sectors: vec![replica],
            output: output.clone(),
        });
        let snark = self.run(Work::WindowPost {
            miner: MINER,
            randomness,
            sectors: vec![(number, sealed.comm_r)],
            vanilla: vec![(output, vec![number])],
        });
        let Output::WindowPost { proof } = snark else { panic!("no proof") };
        proof
    }
}

#[tokio::test]
#[ignore = "writes the fixture: minutes of proving, with devnet parameters"]
async fn seal_the_fixture() {
    let parameters = devnet_folder().unwrap();
    assert_eq!(folder_in_use(), parameters, "set FIL_PROOFS_PARAMETER_CACHE to the devnet parameters");
    ensure(PROOF, &[Circuit::Porep, Circuit::WindowPost], &parameters, |event| println!("{event:?}")).unwrap();
    let node = Node::serving(Devnet::new(genesis(), Arc::new(Says(true))).unwrap()).await;
    let miner = Miner::create(&node).await;
    let folder = tempfile::tempdir().unwrap();
    let benches = [1, 2, 3].map(|number| Bench::new(folder.path(), number));
    // Replicas are needed before the pre-commit lands, seeds after: so the randomness is read off a fork.
    let ahead = Node::serving(Devnet::new(genesis(), Arc::new(Says(true))).unwrap()).await;
    ahead.advance(PROVE_EPOCH).await;
    let ticket = drawn(&ahead, "StateGetRandomnessFromTickets", tag::SEAL_RANDOMNESS, TICKET_EPOCH).await;
    let seed = drawn(&ahead, "StateGetRandomnessFromBeacon", tag::INTERACTIVE_SEAL_CHALLENGE_SEED, SEED_EPOCH).await;
    let wrong_ticket =
        drawn(&ahead, "StateGetRandomnessFromTickets", tag::INTERACTIVE_SEAL_CHALLENGE_SEED, TICKET_EPOCH).await;
    let wrong_seed = drawn(&ahead, "StateGetRandomnessFromBeacon", tag::SEAL_RANDOMNESS, SEED_EPOCH).await;
    let good = benches[0].seal(ticket, seed);
    let wrong_ticket = benches[1].seal(wrong_ticket, seed);
    let wrong_seed = benches[2].seal(ticket, wrong_seed);

    node.advance_to(PRE_COMMIT_EPOCH - 1).await;
    let sectors = [&good, &wrong_ticket, &wrong_seed].map(pre_commit);
    assert_eq!(miner.pre_commit(&sectors).await["ExitCode"], 0);
    node.advance_to(PROVE_EPOCH - 1).await;
    assert_eq!(miner.prove_commit(&[proven(1, &good.proof.0)]).await["ExitCode"], 0);
    let (deadline, _) = miner.location(1).await;
    let now = miner.advance_into(deadline).await;
    let challenge = now["Challenge"].as_i64().unwrap();
    let challenge_seed = tag::WINDOWED_POST_CHALLENGE_SEED;
    let randomness = drawn(&node, "StateGetRandomnessFromBeacon", challenge_seed, challenge).await.value;
    let post = benches[0].window_post(&good, randomness);

    let fixture = Fixture { good, wrong_ticket, wrong_seed, deadline, challenge, post };
    std::fs::create_dir_all(path().parent().unwrap()).unwrap();
    host::durable::write(&path(), &serde_json::to_vec_pretty(&fixture).unwrap()).unwrap();
}
