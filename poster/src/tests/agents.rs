//! Made-up agents, proofs and verifier.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use chain::randomness::{blake2b_256, clear_top_bits};
use prover::{SealStatement, Verifier, VerifyError, WindowPostStatement};
use streams::{
    id::{MinerId, SectorNumber, Timestamp},
    message::{ArtifactRef, PostOutcome, PostResult, PostSector, PostTask, PostWork, decode},
    nats::Nats,
    proof::{Bytes32, Commitment, ProofBytes},
    pull::Puller,
    stage::Class,
    subject::Whither,
};

/// How the agents behave.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Behaviour {
    /// The first SNARK of each partition is nonsense.
    pub(super) first_snark_is_garbage: bool,
    /// A sector whose files are broken.
    pub(super) unreadable: Option<u64>,
}

/// The proof of a statement: 192 bytes that follow from it.
pub(super) fn prove(miner: MinerId, randomness: Bytes32, sectors: &[(SectorNumber, Commitment)]) -> Vec<u8> {
    let words = format!("{miner} {} {sectors:?}", clear_top_bits(randomness));
    blake2b_256(words.as_bytes()).repeat(6)
}

/// Checks such proofs.
pub(super) struct Digests;

impl Verifier for Digests {
    fn seal(&self, _: &SealStatement, _: &[u8]) -> Result<bool, VerifyError> {
        Ok(false)
    }

    fn aggregate(&self, _: &[SealStatement], _: &[u8]) -> Result<bool, VerifyError> {
        Ok(false)
    }

    fn window_post(&self, statement: &WindowPostStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        Ok(proof_bytes == prove(statement.miner, statement.randomness, &statement.sectors))
    }
}

/// Serves one class at one place until it is dropped.
pub(super) async fn serve(nats: Nats, class: Class, whither: Whither, behaviour: Behaviour) {
    let garbage = Arc::new(Mutex::new(BTreeSet::new()));
    streams::layout::ensure_class(&nats, class, &whither, Duration::from_secs(5)).await.unwrap();
    let puller = Puller::open(&nats, class, &whither).await.unwrap();
    loop {
        let Some(delivery) = puller.next(Duration::from_secs(5)).await.unwrap() else { continue };
        let task: PostTask = decode(delivery.payload()).unwrap();
        let spoil = behaviour.first_snark_is_garbage && garbage.lock().unwrap().insert((task.open, task.partition));
        let result = PostResult {
            miner: task.miner,
            open: task.open,
            partition: task.partition,
            attempt: task.attempt,
            agent: "made-up".parse().unwrap(),
            place: match &whither {
                Whither::At(place) => place.clone(),
                Whither::Any => "anywhere".parse().unwrap(),
            },
            started_at: Timestamp(0),
            ended_at: Timestamp(0),
            outcome: outcome(&task, behaviour, spoil),
        };
        nats.publish_post_result(&result).await.unwrap();
        delivery.ack().await.unwrap();
    }
}

fn outcome(task: &PostTask, behaviour: Behaviour, spoil: bool) -> PostOutcome {
    match &task.work {
        PostWork::Vanilla { sectors, .. } => {
            let unreadable = |sector: &&PostSector| Some(sector.number.0) == behaviour.unreadable;
            let (bad, good): (Vec<_>, Vec<_>) = sectors.iter().partition(unreadable);
            let bad = bad.iter().map(|sector| (sector.number, "cannot be read".to_owned())).collect();
            let artifact = ArtifactRef { name: "vanilla".to_owned(), bytes: 1, sha256: Bytes32([0; 32]) };
            PostOutcome::Vanilla { artifact, proven: good.iter().map(|sector| sector.number).collect(), bad }
        }
        PostWork::Snark { .. } if spoil => PostOutcome::Snark { proof: ProofBytes(vec![7; 192]) },
        PostWork::Snark { sectors, vanilla } => {
            let covered: BTreeSet<_> = vanilla.iter().flat_map(|part| part.sectors.clone()).collect();
            let sectors: Vec<_> = sectors.iter().map(|sector| (sector.number, sector.comm_r)).collect();
            assert!(sectors.iter().all(|(number, _)| covered.contains(number)), "a SNARK needs every vanilla proof");
            PostOutcome::Snark { proof: ProofBytes(prove(task.miner, task.randomness, &sectors)) }
        }
    }
}
