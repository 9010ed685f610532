//! Stores that go, hang, fill and come back, while the others are worked with.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use streams::{
    id::StoreId,
    kv::{Bucket, BucketName},
    message::{Facts, Failure, FailureClass, Outcome},
    records::{StoreRecord, StoreState},
    sector::{Persisted, Sealed, SectorRecord, SectorState},
    stage::Stage,
};

use crate::{
    cluster::{Cluster, submitted, wait_for},
    host_files::Host,
    life::{proving, seal},
};

const SEALS: [&str; 4] = ["--class", "pc1-cpu", "--class", "pc2-gpu"];

/// The store at a path, as `store list` tells it.
fn listed(host: &Host, name: &str) -> serde_json::Value {
    let path = host.path(name).display().to_string();
    let all: serde_json::Value = serde_json::from_str(&host.succeeds(&["store", "list", "-o", "json"])).unwrap();
    all.as_array()
        .unwrap()
        .iter()
        .find(|line| line.get("path").is_some_and(|found| found == path.as_str()))
        .expect("it is not listed")
        .clone()
}

fn id(host: &Host, name: &str) -> StoreId {
    serde_json::from_value(listed(host, name).get("store").unwrap().clone()).unwrap()
}

/// Puts the folder of a store away, and leaves an empty one as a lost mount does.
fn lose(host: &Host, name: &str) {
    host::durable::rename(&host.path(name), &host.path("away")).unwrap();
    fs::create_dir(host.path(name)).unwrap();
}

/// Mounts it again; nothing may have been written where it was.
fn mount_again(host: &Host, name: &str) {
    fs::remove_dir(host.path(name)).expect("something was written under the mount point");
    host::durable::rename(&host.path("away"), &host.path(name)).unwrap();
}

/// Waits until the bucket says so of a store.
async fn becomes(cluster: &Cluster, store: StoreId, state: StoreState) -> StoreRecord {
    let stores: Bucket<StoreRecord> = Bucket::open(&cluster.nats, BucketName::Stores).await.unwrap();
    wait_for(async || match stores.get(&store.to_string()).await.unwrap() {
        Some(entry) if entry.value.state == state => Ok(entry.value),
        other => Err(format!("store {store} is {other:?}")),
    })
    .await
}

async fn persists(cluster: &Cluster, sector: &mut SectorRecord, sealed: &Sealed) -> StoreId {
    let done = cluster.does(sector, Stage::Persist, SectorState::Pc2Done { sealed: sealed.clone() }).await;
    let Facts::Persist { store, .. } = done else { panic!("{done:?}") };
    store
}

/// Orders persist, which must fail.
async fn does_not_persist(cluster: &Cluster, sector: &mut SectorRecord, sealed: &Sealed) -> Failure {
    sector.state = SectorState::Pc2Done { sealed: sealed.clone() };
    cluster.set(sector).await;
    cluster.order(sector.id, Stage::Persist, None).await;
    let result = cluster.result().await;
    let Outcome::Failed { failure } = result.outcome else { panic!("{:?}", result.outcome) };
    cluster.let_go(sector.id, Stage::Persist).await;
    failure
}

/// It costs no attempt, and is named.
fn waits(failure: &Failure, code: &str, words: &[&str]) {
    assert!(matches!(failure.class, FailureClass::WaitUntil(_)), "{failure:?}");
    assert_eq!(failure.code, code, "{failure:?}");
    for part in words {
        assert!(failure.message.contains(part), "no \"{part}\" in {failure:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_missing_at_the_start_stops_nobody_and_comes_back_by_itself() {
    let host = Host::with_stores();
    let kept = id(&host, "kept");
    lose(&host, "kept");
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &SEALS);
    let record = becomes(&cluster, kept, StoreState::Missing).await;
    assert!(record.why.contains(&kept.to_string()), "{record:?}");

    let mut sector = submitted(17, vec![]);
    let sealed = seal(&cluster, &mut sector).await;
    let failure = does_not_persist(&cluster, &mut sector, &sealed).await;
    waits(&failure, "store-missing", &[&host.path("kept").display().to_string(), &kept.to_string()]);

    mount_again(&host, "kept");
    becomes(&cluster, kept, StoreState::Ok).await;
    assert_eq!(persists(&cluster, &mut sector, &sealed).await, kept);
    assert!(agent.log().contains("the store is back"), "{}", agent.log());
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn another_disk_at_the_path_is_not_written_to() {
    let host = Host::with_stores();
    let kept = id(&host, "kept");
    lose(&host, "kept");
    fs::remove_dir(host.path("kept")).unwrap();
    let other = Host::bare();
    other.succeeds(&["store", "init", "--persistent", &host.path("kept").display().to_string()]);
    let identity: serde_json::Value =
        serde_json::from_slice(&fs::read(host.path("kept/sealstream-store.json")).unwrap()).unwrap();
    let found = identity["store"].as_str().unwrap();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &SEALS);
    let record = becomes(&cluster, kept, StoreState::Missing).await;
    assert!(record.why.contains(&kept.to_string()) && record.why.contains(found), "{record:?}");
    assert_eq!(fs::read_dir(host.path("kept")).unwrap().count(), 1, "its identity alone");
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_store_that_goes_while_its_copy_is_proven_leaves_nothing_and_the_copy_is_not_made_twice() {
    let host = Host::with_stores();
    let prover = host.hanging("vanilla-post");
    host.configure(&format!("prover = \"{}\"", prover.display()));
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &SEALS);
    let mut sector = submitted(17, vec![]);
    let sealed = seal(&cluster, &mut sector).await;
    sector.state = SectorState::Pc2Done { sealed: sealed.clone() };
    cluster.set(&sector).await;
    cluster.order(sector.id, Stage::Persist, None).await;
    let hangs = async |times: usize| {
        wait_for(async || match host.started().len() {
            found if found == times => Ok(()),
            found => Err(format!("{found} provers began")),
        })
        .await;
    };
    hangs(1).await;
    let copy = host.path("kept/sealed/s-t01000-17");
    let made = fs::metadata(&copy).unwrap().modified().unwrap();
    assert!(!host.path("kept/manifests/s-t01000-17.json").exists(), "nothing vouches for it yet");
    lose(&host, "kept");
    host.release();
    wait_for(async || {
        let log = agent.log();
        if log.contains("is its disk mounted?") { Ok(()) } else { Err(log) }
    })
    .await;
    mount_again(&host, "kept");

    hangs(2).await;
    host.release();
    assert_eq!(cluster.facts(Stage::Persist).await.stage(), Stage::Persist);
    assert_eq!(fs::metadata(&copy).unwrap().modified().unwrap(), made);
    assert!(host.path("kept/manifests/s-t01000-17.json").is_file());
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_store_that_hangs_is_set_aside_and_holds_up_neither_heartbeat_nor_copy() {
    let host = Host::with_stores();
    host.succeeds(&["store", "init", "--persistent", &host.path("second").display().to_string()]);
    let (kept, second) = (id(&host, "kept"), id(&host, "second"));
    // It would be the first choice.
    host.succeeds(&["store", "set", &kept.to_string(), "--weight", "1000"]);
    host.configure("[store]\nhang_after = \"1s\"\n");
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &SEALS);
    becomes(&cluster, kept, StoreState::Ok).await;
    let mut sector = submitted(17, vec![]);
    let sealed = seal(&cluster, &mut sector).await;

    // Whoever reads a FIFO waits for its writer, as on a mount whose server is gone.
    let (identity, aside) = (host.path("kept/sealstream-store.json"), host.path("identity"));
    host::durable::rename(&identity, &aside).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &identity, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    becomes(&cluster, kept, StoreState::Hanging).await;
    assert_eq!(listed(&host, "kept")["state"], "hanging");
    assert_eq!(persists(&cluster, &mut sector, &sealed).await, second);
    let beat = async || cluster.agents.get("a").await.unwrap().expect("no heartbeat").value.at;
    let before = beat().await;
    wait_for(async || if beat().await > before { Ok(()) } else { Err("it does not beat".to_owned()) }).await;

    // Its server answers again.
    drop(fs::OpenOptions::new().write(true).open(&identity).unwrap());
    host::durable::rename(&aside, &identity).unwrap();
    becomes(&cluster, kept, StoreState::Ok).await;
    assert!(agent.terminate().success());
}

/// A small file system of its own; none where this user may not mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path.to_owned()));
        }
        eprintln!("skipped: this user may not mount a tmpfs");
        None
    }

    fn remount(&self, how: &str) {
        assert!(Command::new("mount").args(["-o", how]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[tokio::test]
async fn full_and_read_only_disks_are_named_and_cost_the_sector_nothing() {
    let host = Host::bare();
    let Some(small) = Mounted::at(&host.path("small")) else { return };
    host.succeeds(&["store", "init", &host.path("local").display().to_string()]);
    host.succeeds(&["store", "init", "--persistent", &host.path("small").display().to_string()]);
    let store = id(&host, "small");
    host.configure("keep_free_bytes = 0\n[store]\nhang_after = \"1s\"\n");
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &SEALS);
    let mut sector = submitted(17, vec![]);
    let sealed = seal(&cluster, &mut sector).await;

    let filler = fs::File::create(host.path("small/filler")).unwrap();
    let mut at = 0;
    while let Ok(written @ 1..) = filler.write_at(&[1; 4096], at) {
        at += u64::try_from(written).unwrap();
    }
    drop(filler);
    becomes(&cluster, store, StoreState::Full).await;
    let path = host.path("small").display().to_string();
    waits(&does_not_persist(&cluster, &mut sector, &sealed).await, "no-space", &[&path]);
    fs::remove_file(host.path("small/filler")).unwrap();
    becomes(&cluster, store, StoreState::Ok).await;

    small.remount("remount,ro");
    becomes(&cluster, store, StoreState::ReadOnly).await;
    waits(&does_not_persist(&cluster, &mut sector, &sealed).await, "read-only", &[&path]);
    small.remount("remount,rw");
    becomes(&cluster, store, StoreState::Ok).await;
    assert_eq!(persists(&cluster, &mut sector, &sealed).await, store);
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_replica_that_cannot_be_proven_is_not_kept() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &SEALS);
    let mut sector = submitted(17, vec![]);
    let sealed = seal(&cluster, &mut sector).await;
    // As a bad memory module would: the copy is what was read, and what was read is wrong.
    host::durable::write(&host.path("local/sectors/s-t01000-17/sealed"), &[7; 2048]).unwrap();
    let failure = does_not_persist(&cluster, &mut sector, &sealed).await;
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::RedoFrom(Stage::Pc2), "replica-unprovable"));
    assert!(failure.message.contains("kept/sealed/s-t01000-17"), "{failure:?}");
    for folder in ["sealed", "cache", "manifests"] {
        assert_eq!(fs::read_dir(host.path("kept").join(folder)).unwrap().count(), 0, "{folder}");
    }
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn the_local_copy_goes_with_finalize_and_only_when_the_persisted_one_is_there() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &SEALS);
    let mut sector = submitted(17, vec![]);
    let sealed = seal(&cluster, &mut sector).await;
    let done = cluster.does(&mut sector, Stage::Persist, SectorState::Pc2Done { sealed: sealed.clone() }).await;
    let Facts::Persist { store, sealed_sha256 } = done else { panic!("{done:?}") };
    let persisted = Some(Persisted { store, place: "here".parse().unwrap(), sealed_sha256 });
    let sealed = Sealed { persisted, ..sealed };
    let seed = sealed.ticket;
    let finalized = async |sector: &mut SectorRecord| {
        let facts = cluster.does(sector, Stage::Finalize, proving(sealed.clone(), seed)).await;
        assert_eq!(facts, Facts::Finalize {});
        cluster.let_go(sector.id, Stage::Finalize).await;
    };

    let (copy, aside) = (host.path("kept/sealed/s-t01000-17"), host.path("copy"));
    host::durable::rename(&copy, &aside).unwrap();
    finalized(&mut sector).await;
    let folder = host.path("local/sectors/s-t01000-17");
    assert!(folder.join("sealed").is_file(), "it was the last copy");
    assert!(agent.log().contains("the local copy stays"), "{}", agent.log());

    host::durable::rename(&aside, &copy).unwrap();
    finalized(&mut sector).await;
    assert!(!folder.exists());
    assert_eq!(fs::read_dir(host.path("local/scratch")).unwrap().count(), 0);
    // Its result was lost, and the task comes again.
    finalized(&mut sector).await;
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn a_person_sees_what_is_in_a_store_what_is_wrong_and_what_goes_where() {
    let host = Host::with_stores();
    host.succeeds(&["store", "init", "--persistent", &host.path("second").display().to_string()]);
    let kept = host.path("kept").display().to_string();
    host.succeeds(&["store", "set", &host.path("second").display().to_string(), "--allow-miners", "f02000"]);
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &SEALS);
    let mut sector = submitted(17, vec![]);
    let sealed = seal(&cluster, &mut sector).await;
    let json = |args: &[&str]| -> serde_json::Value { serde_json::from_str(&host.succeeds(args)).unwrap() };
    let why = |subject: &str| json(&["store", "why", subject, "-o", "json"]);
    let first = why("f01000/17")[0].clone();
    assert_eq!((&first["verdict"], &first["path"]), (&"chosen".into(), &kept.as_str().into()));
    assert_eq!(persists(&cluster, &mut sector, &sealed).await, id(&host, "kept"));
    assert!(agent.terminate().success());

    assert_eq!(why("f01000/17")[0]["because"], "it has the replica");
    assert_eq!(why("f01000")[1]["because"], "allow_miners does not name f01000");
    assert_eq!(json(&["store", "show", &kept, "-o", "json"])["held"], serde_json::json!(["f01000/17"]));
    host.succeeds(&["store", "check", "--deep"]);

    let file = fs::OpenOptions::new().write(true).open(host.path("kept/sealed/s-t01000-17")).unwrap();
    file.write_all_at(&[0xff; 1], 1000).unwrap();
    host.succeeds(&["store", "check"]);
    let checked = host.command(&["store", "check", &kept, "--deep"]);
    let (told, code) = (String::from_utf8(checked.stdout).unwrap(), checked.status.code());
    assert_eq!(code, Some(65));
    for part in ["f01000/17", "SHA-256", "made again"] {
        assert!(told.split_whitespace().collect::<Vec<_>>().join(" ").contains(part), "{told}");
    }
    fs::remove_file(host.path("kept/cache/s-t01000-17/p_aux")).unwrap();
    assert_eq!(host.fails(&["store", "check", "-o", "json"]).0, 65);

    assert_eq!(host.succeeds(&["store", "retire", &kept]).trim(), "f01000/17");
    assert_eq!(listed(&host, "kept")["state"], "retired");
    let last = why("f01000")[1].clone();
    assert_eq!(last["verdict"], "passed over");
    host.succeeds(&["store", "retire", &kept, "--undo"]);
    assert_eq!(listed(&host, "kept")["state"], "ok");
    let (_, words) = host.fails(&["store", "show", "/nowhere"]);
    assert!(words.contains("this host lists no store /nowhere"), "{words}");
}
