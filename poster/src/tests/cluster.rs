//! A queue, a chain with a presealed miner, agents at one place, and posters.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use chain::{
    ChainApi,
    follower::{FollowerConfig, follow},
    key::{KeyKind, LocalKey},
    rpc::{JsonRpc, NodeConfig},
    sender::{Sender, SenderConfig},
};
use devnet::{
    Devnet, Genesis, GenesisMiner, PostVerdict, PresealedSector, Preset,
    rpc::{Rule, Shared, router},
    upheaval::{Lose, Upheaval},
};
use fvm_shared::econ::TokenAmount;
use host::{clock::SystemClock, tasks::Tasks};
use streams::{
    id::{Epoch, Incarnation, MinerId, Place, SectorId, SectorNumber, StoreId, Timestamp},
    kv::{Bucket, BucketName},
    nats::{Nats, NatsConfig},
    proof::{Bytes32, Drawn, ProofBytes, SealProof},
    records::{ChainHead, LeaseHeld, PostRecord},
    sector::{MessageRef, Persisted, Placement, PreCommit, Sealed, SectorRecord, SectorState},
    stage::Class,
    subject::Whither,
    testing::{TestServer, wait_for},
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    LIMIT,
    agents::{self, Behaviour, Digests},
};
use crate::{
    app::{App, Parts},
    check::Checker,
    config::Config,
    deadline::Window,
    posts::Posts,
    reading,
    submit::Submitter,
};

pub(super) const NORMAL: Behaviour = Behaviour { first_snark_is_garbage: false, unreadable: None };
const MINER: MinerId = MinerId(1000);
const SECTORS: u64 = 7;
/// How long to wait for something before an epoch passes.
const EPOCH_PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct Cluster {
    nats: Nats,
    chain: Shared,
    /// The posters' node, which misbehaves when it is told to.
    node: NodeConfig,
    /// The test's own.
    api: JsonRpc,
    key_file: PathBuf,
    // Dropped in this order: who talks to the server goes first.
    _helpers: JoinSet<()>,
    server: TestServer,
    _dir: tempfile::TempDir,
}

/// A poster on a runtime of its own.
pub(super) struct Poster {
    runtime: Runtime,
    tasks: Tasks,
    running: JoinHandle<()>,
}

impl Poster {
    /// Tells it to stop, and waits for that.
    pub(super) async fn stop(self) {
        self.tasks.token().cancel();
        self.running.await.unwrap();
        self.runtime.shutdown_background();
    }

    /// Stops it where it stands, as a power switch would: nothing is given back.
    pub(super) fn die(self) {
        self.runtime.shutdown_background();
    }
}

impl Cluster {
    pub(super) async fn start(behaviour: Behaviour) -> Self {
        let server = TestServer::start().await;
        let nats = server.connect_with_layout(Duration::from_secs(5)).await;
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("poster.key");
        let key = LocalKey::generate(KeyKind::Bls).unwrap();
        key.save_new(&key_file).unwrap();

        let chain = Shared::new(devnet(&key));
        let mut helpers = JoinSet::new();
        let node = serve(chain.clone(), &mut helpers).await;
        let honest = serve(chain.another_node(), &mut helpers).await;
        let place = Whither::At(place());
        helpers.spawn(agents::serve(nats.clone(), Class::PostIo, place, behaviour));
        helpers.spawn(agents::serve(nats.clone(), Class::PostGpu, Whither::Any, behaviour));

        let records = Bucket::open(&nats, BucketName::Sectors).await.unwrap();
        for number in 0..SECTORS {
            let record = proving(number);
            records.put(&record.id.key(), &record).await.unwrap();
        }
        let api = JsonRpc::new(&honest).unwrap();
        helpers.spawn(coordinator(nats.clone(), api.clone()));
        Self { nats, chain, node, api, key_file, _helpers: helpers, server, _dir: dir }
    }

    /// Starts a poster that proves for every miner it sees.
    pub(super) fn poster(&self, name: &str) -> Poster {
        let mut config = Config::default();
        config.post.submit_confidence = 0;
        config.post.check_interval = Duration::from_secs(1);
        config.post.lease_ttl = Duration::from_secs(4);
        let (node, url, key_file) = (self.node.clone(), self.server.url().to_owned(), self.key_file.clone());
        let holder = format!("poster-{name}");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tasks = Tasks::new();
        let held = tasks.clone();
        let running = runtime.spawn(async move {
            let api = JsonRpc::new(&node).unwrap();
            let nats = NatsConfig { url, name: holder.clone(), connect_timeout: LIMIT };
            let parts = Parts {
                network: api.network_params().await.unwrap(),
                chain: Arc::new(api),
                nats: Nats::connect(&nats).await.unwrap(),
                key: LocalKey::load(&key_file).unwrap(),
                verifier: Arc::new(Digests),
                holder,
            };
            App::build(config, parts).await.unwrap().spawn(&held);
            let token = held.token();
            held.run_until(token.cancelled()).await.unwrap();
        });
        Poster { runtime, tasks, running }
    }

    pub(super) async fn next_window(&self) -> Window {
        let head = self.api.head().await.unwrap();
        Window::following(&self.api.proving_deadline(MINER, &head.key).await.unwrap())
    }

    /// Lets epochs pass, one after the other, each seen by the follower before the next.
    pub(super) async fn advance_to(&self, epoch: Epoch) {
        let heads: Bucket<ChainHead> = Bucket::open(&self.nats, BucketName::Chain).await.unwrap();
        while self.chain.with(|chain| chain.height()) < epoch {
            let height = self.chain.with(|chain| chain.advance(1).unwrap());
            wait_for(LIMIT, || async {
                let head = heads.get("head").await.unwrap().map(|entry| entry.value.epoch);
                if head == Some(height) { Ok(()) } else { Err(format!("the bucket's head is {head:?}, not {height}")) }
            })
            .await;
        }
    }

    /// Lets so many windows come and go; in each, waits for the proofs before it opens and for the landing before the
    /// close.
    pub(super) async fn prove_windows(&self, count: usize) {
        for _ in 0..count {
            let window = self.next_window().await;
            self.advance_to(window.challenge + 1).await;
            let head = self.api.head().await.unwrap();
            let expected = reading::window(&self.api, &window, &head).await.unwrap().partitions.len();
            self.wait_for_records(&window, expected, "proven", |_| true).await;
            self.advance_to(window.open).await;
            self.wait_for_records(&window, expected, "sent", |record| record.message.is_some()).await;
            self.advance_to(window.open + 5).await;
            self.wait_for_records(&window, expected, "landed", |record| record.landed_at.is_some()).await;
            self.advance_to(window.close - 4).await;
        }
    }

    /// Waits for the window's records; while nothing comes, epochs go on passing, until the window is nearly over.
    pub(super) async fn wait_for_records(
        &self,
        window: &Window,
        expected: usize,
        what: &str,
        good: impl Fn(&PostRecord) -> bool,
    ) {
        let good = &good;
        let look = || async move {
            let records = self.records().await;
            let found = records.iter().filter(|record| record.open == window.open && good(record)).count();
            if found == expected { Ok(()) } else { Err(format!("{found} of {expected} {what}: {records:?}")) }
        };
        while tokio::time::timeout(EPOCH_PATIENCE, wait_for(LIMIT, look)).await.is_err() {
            let height = self.chain.with(|chain| chain.height());
            assert!(height < window.close - 2, "{window:?} is nearly over: {:?}", look().await);
            self.advance_to(height + 1).await;
        }
    }

    pub(super) const fn api(&self) -> &JsonRpc {
        &self.api
    }

    /// Abandons every tipset from `epoch` on with its messages; others, without messages, take their place.
    pub(super) fn fork_from(&self, epoch: Epoch) {
        self.chain.with(|chain| {
            let depth = usize::try_from(chain.height() - epoch + 1).unwrap();
            chain.reorganise_so(depth, &Upheaval { lose: Lose::All, refill: true }).unwrap();
        });
    }

    /// Lets the posters' node misbehave.
    pub(super) fn misbehave(&self, rules: impl IntoIterator<Item = Rule>) {
        self.chain.misbehave(|misbehaviour| {
            misbehaviour.clear();
            rules.into_iter().for_each(|rule| misbehaviour.add(rule).unwrap());
        });
    }

    /// The partitions that the chain has a proof of.
    pub(super) async fn submitted(&self, window: &Window) -> BTreeSet<u64> {
        let head = self.api.head().await.unwrap();
        reading::submitted(&self.api, window, &head).await.unwrap()
    }

    /// Lets epochs pass, slowly enough for the posters, until the chain has so many partitions of the window.
    pub(super) async fn until_submitted(&self, window: &Window, expected: usize) {
        let look = || async move {
            let found = self.submitted(window).await.len();
            if found == expected { Ok(()) } else { Err(format!("{found} of {expected}")) }
        };
        while tokio::time::timeout(EPOCH_PATIENCE, wait_for(LIMIT, look)).await.is_err() {
            let height = self.chain.with(|chain| chain.height());
            assert!(height < window.close - 1, "{window:?} is over: {:?}, {:?}", look().await, self.records().await);
            self.advance_to(height + 1).await;
        }
    }

    pub(super) async fn store(&self, record: &PostRecord) {
        self.posts().await.store(record).await.unwrap();
    }

    async fn posts(&self) -> Posts {
        Posts::new(Bucket::open(&self.nats, BucketName::Posts).await.unwrap())
    }

    /// What a poster sends with.
    pub(super) async fn submitter(&self, checker: Checker) -> Submitter {
        let chain: Arc<dyn ChainApi> = Arc::new(self.api.clone());
        let (key, clock) = (LocalKey::load(&self.key_file).unwrap(), Arc::new(SystemClock));
        let sender = Sender::open(&self.nats, Arc::clone(&chain), key, SenderConfig::default(), clock).await.unwrap();
        Submitter::new(chain, Arc::new(sender), self.posts().await, checker)
    }

    pub(super) async fn records(&self) -> Vec<PostRecord> {
        let posts = Bucket::open(&self.nats, BucketName::Posts).await.unwrap();
        posts.entries(">").await.unwrap().into_iter().map(|entry| entry.value).collect()
    }

    /// Windows that somebody holds.
    pub(super) async fn leases(&self) -> Vec<String> {
        let leases: Bucket<LeaseHeld> = Bucket::open(&self.nats, BucketName::Leases).await.unwrap();
        let keys = leases.keys(">").await.unwrap();
        keys.into_iter().filter(|key| key.starts_with("poster.")).collect()
    }

    /// What the chain's own verification said of every message.
    pub(super) fn verdicts(&self) -> Vec<PostVerdict> {
        self.chain.with(|chain| chain.post_verdicts().to_vec())
    }

    /// The miner's faulty sectors.
    pub(super) async fn faults(&self) -> Vec<u64> {
        let mut faults = Vec::new();
        for deadline in 0..6 {
            for partition in self.api.partitions(MINER, deadline, &Vec::new()).await.unwrap() {
                faults.extend(partition.faulty.iter());
            }
        }
        faults
    }
}

/// A node of a chain.
async fn serve(chain: Shared, helpers: &mut JoinSet<()>) -> NodeConfig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = router(chain);
    helpers.spawn(async move { axum::serve(listener, app).await.unwrap() });
    NodeConfig { endpoint, timeout_secs: 2, ..NodeConfig::default() }
}

/// The one thing a coordinator does for a poster: it says where the chain is, and which miners there are.
async fn coordinator(nats: Nats, api: JsonRpc) {
    let (_miners, known) = watch::channel(vec![MINER]);
    let config = FollowerConfig::for_block_delay("coordinator".to_owned(), Duration::from_millis(200));
    let cancel = CancellationToken::new();
    follow(&nats, Arc::new(api), known, &config, Arc::new(SystemClock), &cancel).await.unwrap();
}

fn place() -> Place {
    "here".parse().unwrap()
}

pub(super) fn comm_r(number: u64) -> Bytes32 {
    Bytes32([u8::try_from(number).unwrap(); 32])
}

fn devnet(key: &LocalKey) -> Devnet {
    let mut genesis = Genesis::of(Preset::Fast);
    genesis.accounts = vec![(key.address(), TokenAmount::from_whole(1_000_000))];
    let sector = |number| PresealedSector {
        number: SectorNumber(number),
        comm_r: comm_r(number),
        comm_d: None,
        expiration: 1_000_000,
    };
    genesis.miners = vec![GenesisMiner {
        owner: key.address(),
        worker: key.address(),
        proof: SealProof::Drg2KiBV1_1,
        funds: TokenAmount::from_whole(100_000),
        sectors: (0..SECTORS).map(sector).collect(),
    }];
    Devnet::new(genesis, Arc::new(Digests)).unwrap()
}

/// The record of a sector that was sealed and persisted.
fn proving(number: u64) -> SectorRecord {
    let store = |n| StoreId(uuid::Uuid::from_u128(n));
    let drawn = Drawn { epoch: 0, value: Bytes32([0; 32]) };
    let message = MessageRef { sender: "f1sealer".into(), nonce: 0 };
    let sealed = Sealed {
        at: Placement { place: place(), store: store(1), generation: 1 },
        ticket: drawn,
        comm_d: Bytes32([0; 32]),
        comm_r: comm_r(number),
        persisted: Some(Persisted { store: store(2), place: place(), sealed_sha256: Bytes32([0; 32]) }),
    };
    SectorRecord {
        id: SectorId { miner: MINER, number: SectorNumber(number) },
        incarnation: Incarnation::FIRST,
        proof: SealProof::Drg2KiBV1_1,
        pieces: Vec::new(),
        submitted_at: Timestamp(0),
        state: SectorState::C2Done {
            sealed,
            pre_commit: PreCommit { message: Some(message), epoch: 0 },
            seed: drawn,
            proof: ProofBytes(Vec::new()),
        },
        entered_at: Timestamp(0),
        seq: 1,
        what: String::new(),
        generations_lost: 0,
        errors: Vec::new(),
        story: Vec::new(),
        messages: Vec::new(),
    }
}
