//! One test's world: a nats-server, a chain, a home folder.

use std::{path::PathBuf, sync::Arc, time::Duration};

use devnet::rpc::Shared;
use host::{exit::CliError, tasks::Tasks};
use streams::{
    control::{CoordinatorRequest, CreateMinerRequest},
    id::{MinerId, SectorId},
    kv::{Bucket, BucketName},
    nats::Nats,
    proof::SealProof,
    sector::SectorRecord,
    testing::{TestServer, wait_for},
};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

use super::node::{Node, Pretended, key_file};
use crate::{
    app::App,
    cli, command,
    config::{self, Config, HttpSection},
    rebuild::Report,
};

/// A message that a sector joined in doubt is given a minute before the sector goes on without it.
pub(super) const LIMIT: Duration = Duration::from_secs(200);

pub(super) struct World {
    pub(super) server: TestServer,
    pub(super) nats: Nats,
    pub(super) home: tempfile::TempDir,
    node: Node,
    key: PathBuf,
}

/// A coordinator that runs within the test.
pub(super) struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

/// A coordinator with a runtime of its own, which can end at any moment without a word, as with its process.
pub(super) struct Apart {
    runtime: Option<Runtime>,
}

impl Apart {
    /// Whatever it was doing stops where it stands: nothing is released, answered or written any more.
    pub(super) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    pub(super) async fn stop(self) {
        let _ended_already = self.stop.send(());
        self.ended.await.unwrap();
    }
}

impl World {
    pub(super) async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (key, file) = key_file(home.path());
        let (server, node) = tokio::join!(TestServer::start(), Node::start(&key));
        let nats = server.connect().await;
        Self { server, nats, home, node, key: file }
    }

    pub(super) fn config(&self) -> Config {
        Config {
            nats: config::NatsSection { url: self.server.url().to_owned(), ..Default::default() },
            chain: config::ChainSection { api: self.node.url.clone(), ..Default::default() },
            sender: config::SenderSection { key_file: Some(self.key.clone()) },
            http: HttpSection { listen: "127.0.0.1:0".parse().unwrap(), advertise: None },
            reconcile_interval: Duration::from_secs(2),
            ..Config::default()
        }
    }

    pub(super) async fn build(&self, config: Config) -> Result<App, CliError> {
        App::build(config, &self.data()).await
    }

    pub(super) async fn run(&self) -> Running {
        self.run_with(self.config()).await
    }

    /// The chain, to drive it.
    pub(super) fn chain(&self) -> &Shared {
        &self.node.chain
    }

    #[expect(clippy::disallowed_methods, reason = "the test waits for it when it stops the coordinator")]
    pub(super) async fn run_with(&self, config: Config) -> Running {
        let app = self.build(config).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move {
            let tasks = Tasks::new();
            app.spawn(&tasks, Arc::new(Pretended));
            tasks.run_until(stopped).await.unwrap();
        });
        Running { stop, ended }
    }

    /// The coordinator's data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.home.path().join("coordinator")
    }

    /// `coordinator rebuild`, as a person types it.
    pub(super) async fn rebuild(&self, without: &[&str]) -> Result<Report, CliError> {
        let patience = Self::patience(without);
        let args = cli::Rebuild { dry_run: false, patience };
        command::rebuild::rebuild(&self.config(), &self.data(), &args).await
    }

    pub(super) fn patience(without: &[&str]) -> cli::Patience {
        cli::Patience {
            without: without.iter().map(|name| name.parse().unwrap()).collect(),
            wait: Duration::from_secs(5),
            pool_wait: LIMIT,
            output: cli::Output { output: host::output::Format::Name },
        }
    }

    /// The next nonce of the coordinator's sender: how many messages of it have landed.
    pub(super) async fn landed(&self) -> u64 {
        let key = chain::key::LocalKey::load(&self.key).unwrap();
        let node = chain::rpc::NodeConfig { endpoint: self.node.url.clone(), ..Default::default() };
        let chain = chain::rpc::JsonRpc::new(&node).unwrap();
        let head = chain::ChainApi::head(&chain).await.unwrap();
        chain::ChainApi::actor(&chain, &key.address(), &head.key).await.unwrap().nonce
    }

    /// Runs a coordinator in a folder of its own; it is ready, and leads or stands by.
    pub(super) async fn run_apart(&self, folder: &str) -> Apart {
        let (config, data) = (self.config(), self.home.path().join(folder));
        let (ready, is_ready) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.spawn(async move {
            let app = App::build(config, &data).await.unwrap();
            let tasks = Tasks::new();
            app.spawn(&tasks, Arc::new(Pretended));
            ready.send(()).unwrap();
            tasks.run_until(std::future::pending::<()>()).await.unwrap();
        });
        let apart = Apart { runtime: Some(runtime) };
        is_ready.await.unwrap();
        apart
    }

    /// Asks until a coordinator leads and answers.
    pub(super) async fn ask<R: CoordinatorRequest>(&self, request: &R) -> R::Answer {
        wait_for(LIMIT, || async { self.nats.ask(request, LIMIT).await.map_err(|e| e.to_string()) }).await
    }

    pub(super) async fn miner(&self) -> MinerId {
        let request = CreateMinerRequest {
            proof: SealProof::Drg2KiBV1_1,
            from: None,
            owner: None,
            worker: None,
            peer_id: String::new(),
        };
        self.ask(&request).await.miner
    }

    pub(super) async fn record(&self, id: SectorId) -> SectorRecord {
        let sectors: Bucket<SectorRecord> = Bucket::open(&self.nats, BucketName::Sectors).await.unwrap();
        sectors.get(&id.key()).await.unwrap().unwrap().value
    }

    /// Waits until a sector is in one of these states.
    pub(super) async fn until(&self, id: SectorId, states: &[&str]) -> SectorRecord {
        wait_for(LIMIT, || async {
            let record = self.record(id).await;
            if states.contains(&record.state.name()) { Ok(record) } else { Err(format!("{record:#?}")) }
        })
        .await
    }

    /// Waits until a sector is proving and trimmed.
    pub(super) async fn until_done(&self, id: SectorId) -> SectorRecord {
        wait_for(LIMIT, || async {
            let record = self.record(id).await;
            let done = matches!(record.state, streams::sector::SectorState::Proving { finalized: true, .. });
            if done { Ok(record) } else { Err(format!("{record:#?}")) }
        })
        .await
    }
}

/// Takes the coordinator's lease away from a holder that is gone.
pub(super) async fn free_lease(nats: &Nats) {
    if let Ok(bucket) = Bucket::<streams::records::LeaseHeld>::open(nats, BucketName::Leases).await {
        bucket.delete("coordinator").await.unwrap();
    }
}
