//! A cluster that seals with fake proofs, on a chain whose clock is the test's.

use std::{cell::OnceCell, net::TcpListener, sync::Arc, time::Duration};

use chain::{key::LocalKey, message::SignedMessage};
use fvm_shared::{econ::TokenAmount, message::Message};
use prover::{Verifier, fake::FakeVerifier};
use streams::{
    id::SectorId,
    kv::{Bucket, BucketName},
    nats::Nats,
    proof::SealProof,
    sector::{SectorRecord, SectorState},
    testing::wait_for,
};

use crate::{
    cluster::{Beginning, Cluster, Program},
    folder::MINER,
};

/// Its pre-commit waits in the node's pool.
pub(crate) fn is_sent(record: &SectorRecord) -> bool {
    matches!(record.state, SectorState::PreCommitSent { .. })
}

/// Its pre-commit is on chain.
pub(crate) fn is_pre_committed(record: &SectorRecord) -> bool {
    record.state.pre_commit().is_some()
}

/// A chain that is old enough to draw tickets from.
const OLD_ENOUGH: u64 = 60;
const EPOCH: Duration = Duration::from_millis(50);
/// What a sector may take. One that joined a message in doubt is given a minute before it goes on without it.
const SECTOR_MAX: Duration = Duration::from_secs(150);
/// The lease of a coordinator that died holds up its successor.
const LEASE: (&str, &str) = ("SEALSTREAM_COORDINATOR_LEASE__TTL", "2s");

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) root: tempfile::TempDir,
    nats: OnceCell<Nats>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(SealProof::Drg2KiBV1_1, Arc::new(FakeVerifier), &[]).await
    }

    pub(crate) async fn with(proof: SealProof, verifier: Arc<dyn Verifier>, env: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let prover = std::path::Path::new(env!("CARGO_BIN_EXE_coordinator")).with_file_name("fake-prover");
        let prover = prover.display().to_string();
        // Pieces and deliveries have to be where they were after a restart.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let common = [
            LEASE,
            ("SEALSTREAM_COORDINATOR_HTTP__LISTEN", listen.as_str()),
            ("SEALSTREAM_COORDINATOR_RECONCILE_INTERVAL", "2s"),
            ("SEALSTREAM_FAKE_PROOFS", "1"),
            ("SEALSTREAM_AGENT_PROVER", &prover),
            ("SEALSTREAM_AGENT_KEEP_FREE_BYTES", "0"),
        ];
        let beginning = Beginning { proof, sectors: &[], verifier, env: &[&common[..], env].concat() };
        let world = Self { cluster: Cluster::start(root.path(), &beginning).await, root, nats: OnceCell::new() };
        for (name, kind) in [("fast", &[][..]), ("kept", &["--persistent"][..])] {
            let folder = world.root.path().join(name).display().to_string();
            let made = world.cluster.run("sealer-agent", &[&["store", "init"], kind, &[&folder]].concat());
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        world.pass(OLD_ENOUGH);
        world
    }

    /// Lets epochs pass.
    pub(crate) fn pass(&self, epochs: u64) {
        self.cluster.chain.with(|chain| chain.advance(epochs).unwrap());
    }

    /// A coordinator that leads, and kills itself once it comes by the failpoint.
    pub(crate) async fn coordinator_to_die(&self, failpoint: &str) -> Program {
        let coordinator = self.cluster.spawn_to_die("coordinator", &["run"], failpoint);
        self.cluster.until_led().await;
        coordinator
    }

    /// An agent of the host that has the stores.
    pub(crate) fn agent(&self, name: &str, classes: &[&str]) -> Program {
        let classes: Vec<&str> = classes.iter().flat_map(|class| ["--class", class]).collect();
        self.cluster.spawn("sealer-agent", &[&["--name", name], &classes[..]].concat())
    }

    /// Submits so many empty sectors.
    pub(crate) fn submit(&self, count: usize) -> Vec<SectorId> {
        self.submitted(&["--count", &count.to_string()])
    }

    /// Submits what is named.
    pub(crate) fn submitted(&self, what: &[&str]) -> Vec<SectorId> {
        let (code, answer, talk) =
            self.cluster.ask("coordinator", &[&["submit", "--miner", &MINER.to_string()], what].concat());
        assert_eq!(code, Some(0), "{talk}");
        serde_json::from_value(answer["sectors"].clone()).unwrap()
    }

    /// The test's own connection.
    pub(crate) async fn nats(&self) -> Nats {
        if self.nats.get().is_none() {
            let _there_already = self.nats.set(self.cluster.nats().await);
        }
        self.nats.get().unwrap().clone()
    }

    pub(crate) async fn sectors(&self) -> Bucket<SectorRecord> {
        Bucket::open(&self.nats().await, BucketName::Sectors).await.unwrap()
    }

    /// Every record, by number.
    pub(crate) async fn records(&self) -> Vec<SectorRecord> {
        let mut records: Vec<_> =
            self.sectors().await.entries(">").await.unwrap().into_iter().map(|entry| entry.value).collect();
        records.sort_unstable_by_key(|record: &SectorRecord| record.id);
        records
    }

    /// Waits until a sector's record is as wanted, while the chain stands still.
    pub(crate) async fn until(&self, sector: SectorId, wanted: impl Fn(&SectorRecord) -> bool) -> SectorRecord {
        self.until_it_is(sector, wanted, 0).await
    }

    /// The same, while epochs pass.
    pub(crate) async fn pass_until(&self, sector: SectorId, wanted: impl Fn(&SectorRecord) -> bool) -> SectorRecord {
        self.until_it_is(sector, wanted, 1).await
    }

    async fn until_it_is(&self, sector: SectorId, wanted: impl Fn(&SectorRecord) -> bool, epochs: u64) -> SectorRecord {
        let sectors = self.sectors().await;
        wait_for(SECTOR_MAX, || async {
            let record = sectors.get(&sector.key()).await.unwrap().unwrap().value;
            if wanted(&record) {
                return Ok(record);
            }
            if epochs > 0 {
                self.pass(epochs);
                tokio::time::sleep(EPOCH).await;
            }
            Err(format!("{record:#?}"))
        })
        .await
    }

    /// A message of the coordinator's key that moves nothing: somebody else holds that key.
    pub(crate) fn stranger(&self, nonce: u64) -> SignedMessage {
        let key = LocalKey::load(&self.cluster.home.join("coordinator-key.json")).unwrap();
        let message = Message {
            version: 0,
            from: key.address(),
            to: key.address(),
            sequence: nonce,
            value: TokenAmount::from_atto(0),
            method_num: fvm_shared::METHOD_SEND,
            params: Vec::new().into(),
            gas_limit: 1_000_000_000,
            gas_fee_cap: TokenAmount::from_atto(200_000),
            gas_premium: TokenAmount::from_atto(100_000),
        };
        key.sign_message(message).unwrap()
    }
}
