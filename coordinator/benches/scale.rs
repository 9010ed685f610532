//! A coordinator that comes back to 100,000 sectors in flight: when its first task is in the queue, and what it holds in
//! memory, beside the core request-reply time of the same run.
//!
//! The records are written straight into the bucket of a real nats-server with the shipped settings; half of them have
//! their pointer in the queue, half wait for a seed. Only the record that is read last lacks its pointer, so the first
//! dispatch comes after all others were read. Rows are appended to `target/bench/results.jsonl`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot be made has failed")]
#![expect(clippy::indexing_slicing, reason = "the middle of a list that is not empty")]

use std::{
    future::IntoFuture as _,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use chain::key::{KeyKind, LocalKey};
use devnet::{
    Devnet, Genesis, Preset,
    rpc::{Shared, router},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use fvm_shared::econ::TokenAmount;
use prover::{SealStatement, Verifier, VerifyError, WindowPostStatement};
use serde_json::{Value, json};
use streams::{
    id::{Incarnation, MinerId, SectorId, SectorNumber, StoreId, Timestamp},
    message::{Task, encode},
    nats::Nats,
    proof::{Bytes32, Drawn, SealProof},
    sector::{MessageRef, Placement, PreCommit, Sealed, SectorRecord, SectorState},
    stage::Stage,
    subject::{TaskSubject, Whither},
    testing::{TestServer, wait_for},
};
use tokio::task::JoinSet;

const SECTORS: u64 = 100_000;
/// Publishes under way at once while the bucket is filled.
const IN_FLIGHT: usize = 2_000;
const LIMIT: Duration = Duration::from_secs(60);
const EPOCH: Duration = Duration::from_secs(1);
const FIRST_DISPATCH_MAX_S: f64 = 10.0;
const MEMORY_MAX_MB: f64 = 500.0;
const ASKED: usize = 500;

fn main() {
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let rows = runtime.block_on(measure());
    println!("\n{:<58} {:>9} {:<4} {:>7}  of", "scale", "value", "", "ratio");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&folder).unwrap();
    let mut results = std::fs::File::options().create(true).append(true).open(folder.join("results.jsonl")).unwrap();
    for row in &rows {
        writeln!(results, "{row}").unwrap();
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| row[key].as_f64().map_or_else(String::new, |v| format!("{v:.3}"));
        let (name, value, unit) = (text("name"), number("value"), text("unit"));
        println!("{name:<58} {value:>9} {unit:<4} {:>7}  {}", number("ratio"), text("ratio_to"));
    }
}

async fn measure() -> Vec<Value> {
    let server = TestServer::start().await;
    let nats = server.connect_with_layout(LIMIT).await;
    let home = tempfile::tempdir().unwrap();
    let key = LocalKey::generate(KeyKind::Bls).unwrap();
    key.save_new(&home.path().join("key.json")).unwrap();
    let (_node, api) = node(&key).await;
    let http = free_port();
    configure(home.path(), server.url(), &api, http);
    let filled = fill(&nats).await;
    let echo = request_reply(&nats).await;

    let mut seen = nats.client().subscribe("seal.>").await.unwrap();
    let mut rows = vec![
        json!({"name": "core request-reply p50", "value": echo * 1e3, "unit": "ms", "ratio_to": null, "ratio": null}),
        row("scale 100000 sectors: records and pointers written a second", filled, "", "1000 a second", filled / 1e3),
    ];
    let mut running: Option<Coordinator> = None;
    for how in ["start", "restart after kill -9"] {
        drop(running.take());
        forget_last_pointer(&nats).await;
        let started = Instant::now();
        let coordinator = running.insert(Coordinator::start(home.path()));
        let first = tokio::time::timeout(LIMIT, seen.next()).await;
        let first_s = started.elapsed().as_secs_f64();
        let subject = first.unwrap_or_else(|_| panic!("nothing was dispatched in {LIMIT:?}")).unwrap().subject;
        assert_eq!(subject.as_str(), pointer(SECTORS).0.to_string(), "only this one was missing");
        let pass_s = passed(http).await;
        let memory_mb = coordinator.memory_peak_mb();
        let name = |what: &str| format!("scale {SECTORS} sectors, {how}: {what}");
        let limit = format!("the limit of {FIRST_DISPATCH_MAX_S} s");
        rows.push(row(&name("first dispatch"), first_s, "s", &limit, first_s / FIRST_DISPATCH_MAX_S));
        rows.push(row(&name("first dispatch"), first_s, "s", "core request-reply p50", first_s / echo));
        rows.push(row(&name("first pass"), pass_s, "s", "core request-reply p50", pass_s / echo));
        let limit = format!("the limit of {MEMORY_MAX_MB} MB");
        rows.push(row(&name("memory peak"), memory_mb, "MB", &limit, memory_mb / MEMORY_MAX_MB));
    }
    rows
}

fn row(name: &str, value: f64, unit: &str, ratio_to: &str, ratio: f64) -> Value {
    json!({"name": name, "value": value, "unit": unit, "ratio_to": ratio_to, "ratio": ratio})
}

/// Killed when dropped, as by a power cut: its lease has to run out.
struct Coordinator(Child);

impl Coordinator {
    fn start(home: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(home.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator"));
        command.arg("--home").arg(home).arg("run").stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap())
    }

    fn memory_peak_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
        kib * 1024.0 / 1e6
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits for the end of the first pass, and says how long it took.
async fn passed(http: u16) -> f64 {
    let url = format!("http://127.0.0.1:{http}/metrics");
    wait_for(LIMIT, || async {
        let answer = reqwest::get(&url).await.map_err(|e| e.to_string())?;
        let text = answer.text().await.map_err(|e| e.to_string())?;
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let took = value("seal_reconcile_last_pass_duration_seconds ").ok_or_else(|| text.clone())?;
        assert_eq!(value("seal_orphan_sectors "), Some(0.0), "{text}");
        Ok(took)
    })
    .await
}

async fn request_reply(nats: &Nats) -> f64 {
    let mut requests = nats.client().subscribe("bench.scale.echo").await.unwrap();
    let answering = async {
        while let Some(request) = requests.next().await {
            nats.client().publish(request.reply.unwrap(), request.payload).await.unwrap();
        }
    };
    let asking = async {
        let mut times = Vec::with_capacity(ASKED);
        for _ in 0..ASKED {
            let asked = Instant::now();
            nats.client().request("bench.scale.echo", vec![7; 64].into()).await.unwrap();
            times.push(asked.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        times[ASKED / 2]
    };
    tokio::select! {
        p50 = asking => p50,
        () = answering => panic!("the connection closed"),
    }
}

fn configure(home: &Path, nats: &str, api: &str, http: u16) {
    let text = format!(
        "[nats]\nurl = \"{nats}\"\n[chain]\napi = \"{api}\"\n[sender]\nkey_file = \"key.json\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n"
    );
    host::durable::write(&home.join("coordinator.toml"), text.as_bytes()).unwrap();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Nothing is proven here.
struct Nothing;

impl Verifier for Nothing {
    fn seal(&self, _: &SealStatement, _: &[u8]) -> Result<bool, VerifyError> {
        Ok(false)
    }

    fn aggregate(&self, _: &[SealStatement], _: &[u8]) -> Result<bool, VerifyError> {
        Ok(false)
    }

    fn window_post(&self, _: &WindowPostStatement, _: &[u8]) -> Result<bool, VerifyError> {
        Ok(false)
    }
}

async fn node(key: &LocalKey) -> (JoinSet<()>, String) {
    let mut genesis = Genesis::of(Preset::Fast);
    genesis.accounts = vec![(key.address(), TokenAmount::from_whole(1_000))];
    let shared = Shared::new(Devnet::new(genesis, Arc::new(Nothing)).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    let app = router(shared.clone());
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    tasks.spawn(async move {
        let mut ticks = tokio::time::interval(EPOCH);
        loop {
            ticks.tick().await;
            let shared = shared.clone();
            tokio::task::spawn_blocking(move || shared.with(|devnet| devnet.advance(1)).unwrap()).await.unwrap();
        }
    });
    (tasks, url)
}

fn sector(n: u64) -> SectorId {
    SectorId { miner: MinerId(1000), number: SectorNumber(n) }
}

/// An even one waits for an agent; an odd one is pre-committed, and its seed is far away.
fn record(n: u64) -> SectorRecord {
    let now = Timestamp(1_790_000_000_000);
    let bytes = |fill| Bytes32([fill; 32]);
    let at = Placement { place: "bench".parse().unwrap(), store: StoreId(uuid::Uuid::from_u128(1)), generation: 1 };
    let mut record = SectorRecord::new(sector(n), Incarnation::FIRST, SealProof::Drg2KiBV1_1, Vec::new(), now);
    record.seq = 1;
    record.what = "written by a bench".to_owned();
    record.state = if n.is_multiple_of(2) {
        SectorState::PiecesAdded { at }
    } else {
        let message = MessageRef { sender: "f1bench".to_owned(), nonce: n };
        let ticket = Drawn { epoch: 1, value: bytes(3) };
        let sealed = Sealed { at, ticket, comm_d: bytes(1), comm_r: bytes(2), persisted: Some(persisted()) };
        SectorState::PreCommitted { sealed, pre_commit: PreCommit { message, epoch: 1_000_000_000 } }
    };
    record
}

fn persisted() -> streams::sector::Persisted {
    let (store, place) = (StoreId(uuid::Uuid::from_u128(2)), "bench".parse().unwrap());
    streams::sector::Persisted { store, place, sealed_sha256: Bytes32([4; 32]) }
}

fn pointer(n: u64) -> (TaskSubject, Task) {
    let (sector, stage) = (sector(n), Stage::TreeD);
    let whither = Whither::At("bench".parse().unwrap());
    (TaskSubject { whither, sector, stage }, Task { sector, stage, unseal: None })
}

/// Writes records, the one without a pointer last; returns how many messages were stored a second.
async fn fill(nats: &Nats) -> f64 {
    let started = Instant::now();
    let jetstream = nats.jetstream();
    let mut waiting = FuturesUnordered::new();
    let mut stored: u32 = 0;
    for n in 1..=SECTORS {
        let mut messages = vec![(format!("$KV.SECTORS.{}", sector(n).key()), encode(&record(n)).unwrap())];
        if n.is_multiple_of(2) && n != SECTORS {
            let (subject, task) = pointer(n);
            messages.push((subject.to_string(), encode(&task).unwrap()));
        }
        for (subject, payload) in messages {
            waiting.push(jetstream.publish(subject, payload).await.unwrap().into_future());
            stored += 1;
        }
        while waiting.len() > IN_FLIGHT {
            waiting.next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = waiting.next().await {
        done.unwrap();
    }
    f64::from(stored) / started.elapsed().as_secs_f64()
}

async fn forget_last_pointer(nats: &Nats) {
    let tasks = nats.jetstream().get_stream("TASKS").await.unwrap();
    tasks.purge().filter(pointer(SECTORS).0.to_string()).await.unwrap();
}
