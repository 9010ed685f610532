//! The checker can see loss: with `sync_interval: 2m`, which is what nats-server does out of the box, a power cut takes
//! acknowledged writes; with `always`, which is what `nats.conf` says, it takes none.
//!
//! A real nats-server keeps its store on a disk that forgets what was not synced.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use host::clock::{Clock as _, SystemClock};
use sha2::{Digest as _, Sha256};
use streams::{
    id::{MinerId, SectorId, SectorNumber, Timestamp},
    kv::{Bucket, BucketName},
    layout::{LayoutOptions, ensure},
    message::{Task, Text, encode},
    nats::{Nats, NatsConfig, Published},
    records::NumberGiven,
    server::find_or_install,
    stage::Stage,
    subject::{TaskSubject, Whither},
    testing::wait_for,
};
use trial::{
    checker::{Evidence, judge},
    evidence::{LineLog, RUN, RunLine, Settings, Write},
    lossy::{Disk, Mounted, why_not},
};

const SHIPPED: &str = include_str!("../../../nats.conf");
const WRITES: u64 = 100;
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn out_of_the_box_a_power_cut_takes_acknowledged_writes() {
    let Some(violations) = violations_after_a_power_cut("2m").await else { return };
    assert!(!violations.is_empty(), "nothing was lost: the disk, or the checker, sees nothing");
    assert!(violations.iter().all(|id| *id == "Q1"), "{violations:?}");
    println!("sync_interval 2m: {} of {} acknowledged writes lost", violations.len(), 2 * WRITES);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_we_ship_it_a_power_cut_takes_none() {
    let Some(violations) = violations_after_a_power_cut("always").await else { return };
    assert_eq!(violations, Vec::<&str>::new());
}

/// What the checker names after a run with this setting; nothing where no disk can be mounted.
async fn violations_after_a_power_cut(sync_interval: &str) -> Option<Vec<&'static str>> {
    if let Some(why) = why_not() {
        println!("SKIPPED, and nothing is shown: {why}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (store, evidence) = (dir.path().join("disk"), dir.path().join("evidence"));
    std::fs::create_dir(&store).unwrap();
    let disk = Disk::new();
    let mounted = Mounted::mount(&disk, &store).unwrap();
    let log = LineLog::open(&evidence, RUN).unwrap();
    let name = format!("power cut with sync_interval {sync_interval}");
    log.note(&RunLine::Began { at: now(), name, settings: Settings::default() }).unwrap();

    let mut server = Server::start(dir.path(), &store, sync_interval).await;
    let nats = server.connect().await;
    ensure(&nats, &LayoutOptions { replicas: 1, ack_wait: LIMIT }).await.unwrap();
    for number in 1..=WRITES {
        for write in [give_number(&nats, number).await, publish_task(&nats, number).await] {
            log.note(&RunLine::Acknowledged { at: now(), write }).unwrap();
        }
    }

    server.kill9();
    mounted.unmount().unwrap();
    disk.lose_power();
    let mounted = Mounted::mount(&disk, &store).unwrap();
    let server = Server::start(dir.path(), &store, sync_interval).await;
    reread(&server.connect().await, &log).await;
    drop(server);
    mounted.unmount().unwrap();
    let evidence = Evidence::load(&evidence).unwrap();
    Some(judge(&evidence).into_iter().map(|violation| violation.id).collect())
}

fn now() -> u64 {
    SystemClock.now_unix_ms()
}

fn written(stream: &str, seq: u64, subject: String, text: &impl Text) -> Write {
    write(stream, seq, subject, &encode(text).unwrap())
}

fn write(stream: &str, seq: u64, subject: String, payload: &[u8]) -> Write {
    Write { stream: stream.to_owned(), seq, subject, sha256: hex::encode(Sha256::digest(payload)) }
}

fn sector(number: u64) -> SectorId {
    SectorId { miner: MinerId(1000), number: SectorNumber(number) }
}

async fn give_number(nats: &Nats, number: u64) -> Write {
    let numbers: Bucket<NumberGiven> = Bucket::open(nats, BucketName::Numbers).await.unwrap();
    let (key, given) = (sector(number).key(), NumberGiven { at: Timestamp(now()) });
    let revision = numbers.create(&key, &given).await.unwrap();
    written("KV_NUMBERS", revision, format!("$KV.NUMBERS.{key}"), &given)
}

async fn publish_task(nats: &Nats, number: u64) -> Write {
    let (sector, stage) = (sector(number), Stage::Place);
    let subject = TaskSubject { whither: Whither::Any, sector, stage };
    let task = Task { sector, stage, unseal: None };
    match nats.publish_task(&subject, &task).await.unwrap() {
        Published::New { sequence } => written("TASKS", sequence, subject.to_string(), &task),
        Published::AlreadyQueued => panic!("{subject} is queued already"),
    }
}

/// Everything that the streams still hold.
async fn reread(nats: &Nats, log: &LineLog<RunLine>) {
    for name in ["KV_NUMBERS", "TASKS"] {
        // After a power cut the whole stream may be gone.
        let Ok(stream) = nats.jetstream().get_stream(name).await else { continue };
        let state = stream.cached_info().state.clone();
        for seq in state.first_sequence..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(seq).await else { continue };
            let write = write(name, seq, message.subject.to_string(), &message.payload);
            log.note(&RunLine::Reread { at: now(), write }).unwrap();
        }
    }
    log.note(&RunLine::RereadAll { at: now() }).unwrap();
}

/// A server whose configuration is the shipped one, but for one setting that no product switch offers.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}

impl Server {
    async fn start(dir: &Path, store: &Path, sync_interval: &str) -> Self {
        let program = find_or_install().await.unwrap();
        let conf = dir.join("nats.conf");
        std::fs::File::create(&conf).unwrap().write_all(conf_with(store, sync_interval).as_bytes()).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(&conf)
            .arg("--ports_file_dir")
            .arg(dir)
            .arg("-l")
            .arg(dir.join("nats-server.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut this = Self { child, url: String::new() };
        let ports = ports_file(dir, this.child.id());
        let log = dir.join("nats-server.log");
        this.url = wait_for(LIMIT, || std::future::ready(url(&ports, &log))).await;
        // The next server writes another one, perhaps under the same process id.
        std::fs::remove_file(&ports).unwrap();
        this
    }

    async fn connect(&self) -> Nats {
        let config = NatsConfig { url: self.url.clone(), name: "test".to_owned(), connect_timeout: LIMIT };
        Nats::connect(&config).await.unwrap()
    }

    fn kill9(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn ports_file(dir: &Path, pid: u32) -> PathBuf {
    dir.join(format!("nats-server_{pid}.ports"))
}

fn url(ports: &Path, log: &Path) -> Result<String, String> {
    let said = || std::fs::read_to_string(log).unwrap_or_default();
    let text = std::fs::read(ports).map_err(|error| format!("{error}: {}", said()))?;
    let ports: serde_json::Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let address = ports.pointer("/nats/0").and_then(serde_json::Value::as_str);
    address.map(str::to_owned).ok_or_else(|| format!("no address in {ports}"))
}

fn conf_with(store: &Path, sync_interval: &str) -> String {
    let mut changed = 0;
    let lines: Vec<_> = SHIPPED
        .lines()
        .map(|line| {
            let (indent, setting) = line.split_at(line.len() - line.trim_start().len());
            let value = match setting.split_once(':').map(|(key, _)| key) {
                Some("listen") => "listen: \"127.0.0.1:-1\"".to_owned(),
                Some("store_dir") => format!("store_dir: \"{}\"", store.display()),
                Some("sync_interval") => format!("sync_interval: {sync_interval}"),
                _ => return line.to_owned(),
            };
            changed += 1;
            format!("{indent}{value}")
        })
        .collect();
    assert_eq!(changed, 3, "nats.conf no longer says what this test changes");
    lines.join("\n")
}
