//! A chain behind a socket, whose epochs pass quickly.

use std::{sync::Arc, time::Duration};

use chain::key::{KeyKind, LocalKey};
use devnet::{
    Devnet, Genesis, Preset,
    rpc::{Shared, router},
};
use fvm_shared::econ::TokenAmount;
use prover::{SealStatement, Verifier, VerifyError, WindowPostStatement};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinSet};

const EPOCH: Duration = Duration::from_millis(150);
const PROOF_BYTES: usize = 192;

/// Accepts nothing but [`pretended_proof`].
pub(super) struct Pretended;

impl Verifier for Pretended {
    fn seal(&self, statement: &SealStatement, proof_bytes: &[u8]) -> Result<bool, VerifyError> {
        Ok(proof_bytes == pretended_proof(statement))
    }

    fn aggregate(&self, _: &[SealStatement], _: &[u8]) -> Result<bool, VerifyError> {
        Ok(false)
    }

    fn window_post(&self, _: &WindowPostStatement, _: &[u8]) -> Result<bool, VerifyError> {
        Ok(false)
    }
}

/// The one proof of this statement that is accepted.
pub(super) fn pretended_proof(statement: &SealStatement) -> Vec<u8> {
    let SealStatement { proof, miner, number, comm_r, comm_d, ticket, seed } = statement;
    let words = format!("{} {miner} {number} {comm_r} {comm_d} {} {}", proof.number(), ticket.value, seed.value);
    Sha256::digest(words).iter().copied().cycle().take(PROOF_BYTES).collect()
}

/// The node; it ends when dropped.
pub(super) struct Node {
    pub(super) url: String,
    pub(super) chain: Shared,
    _tasks: JoinSet<()>,
}

impl Node {
    /// A fast chain on which `key` has funds.
    pub(super) async fn start(key: &LocalKey) -> Self {
        let mut genesis = Genesis::of(Preset::Fast);
        genesis.accounts = vec![(key.address(), TokenAmount::from_whole(1_000_000))];
        let shared = Shared::new(Devnet::new(genesis, Arc::new(Pretended)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        let app = router(shared.clone());
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let chain = shared.clone();
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(EPOCH);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let shared = shared.clone();
                tokio::task::spawn_blocking(move || shared.with(|devnet| devnet.advance(1)).unwrap()).await.unwrap();
            }
        });
        Self { url, chain, _tasks: tasks }
    }
}

/// A key in a file, for the coordinator.
pub(super) fn key_file(folder: &std::path::Path) -> (LocalKey, std::path::PathBuf) {
    let key = LocalKey::generate(KeyKind::Bls).unwrap();
    let file = folder.join("key.json");
    key.save_new(&file).unwrap();
    (key, file)
}
