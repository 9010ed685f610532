//! A sector with a file in it, from its placement to the file read back.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing};
use sha2::Digest as _;
use streams::{
    artifact::Artifacts,
    message::{ArtifactRef, Facts, UnsealOrder},
    proof::{Bytes32, Drawn},
    records::AgentRecord,
    sector::{MessageRef, Persisted, PreCommit, Sealed, SectorRecord, SectorState, StageError},
    stage::Stage,
};

use crate::{
    cluster::{Cluster, at, piece, submitted, wait_for},
    host_files::Host,
};

const PAYLOAD: &[u8] = b"what was sealed must come back as it was";

/// Serves the payload, and takes what is put.
pub(crate) struct Web {
    url: String,
    put: Arc<Mutex<Vec<u8>>>,
    tasks: host::tasks::Tasks,
}

impl Web {
    pub(crate) async fn start() -> Self {
        let put = Arc::new(Mutex::new(Vec::new()));
        let keep = async |State(put): State<Arc<Mutex<Vec<u8>>>>, body: Bytes| {
            *put.lock().unwrap() = body.to_vec();
        };
        let routes = Router::new()
            .route("/piece", routing::get(async || PAYLOAD))
            .route("/unsealed", routing::put(keep))
            .with_state(Arc::clone(&put));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let tasks = host::tasks::Tasks::new();
        tasks.spawn("web", async move { Ok(axum::serve(listener, routes).await?) });
        Self { url, put, tasks }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

#[tokio::test]
async fn a_sector_goes_its_whole_way_and_its_data_comes_back() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let web = Web::start().await;
    let agent = host.agent(cluster.server.url(), "a", &["--class", "pc1-cpu", "--class", "pc2-gpu"]);
    let mut sector = submitted(17, vec![piece(format!("{}/piece", web.url), PAYLOAD)]);

    let sealed = seal(&cluster, &mut sector).await;
    let folder = host.path("local/sectors/s-t01000-17");
    assert!(!folder.join("pieces").exists(), "fetched pieces are gone");

    let done = cluster.does(&mut sector, Stage::Persist, SectorState::Pc2Done { sealed: sealed.clone() }).await;
    let Facts::Persist { store, sealed_sha256 } = done else { panic!("{done:?}") };
    let kept = fs::read(host.path("kept/sealed/s-t01000-17")).unwrap();
    assert_eq!(sealed_sha256, Bytes32(sha2::Sha256::digest(&kept).into()));
    assert!(host.path("kept/cache/s-t01000-17/p_aux").is_file());
    let persisted = Some(Persisted { store, place: "here".parse().unwrap(), sealed_sha256 });
    let sealed = Sealed { persisted, ..sealed };

    let seed = Drawn { epoch: 300, value: Bytes32([6; 32]) };
    let ready = SectorState::SeedReady { sealed: sealed.clone(), pre_commit: pre_commit(), seed };
    let done = cluster.does(&mut sector, Stage::C1, ready).await;
    let Facts::C1 { artifact } = done else { panic!("{done:?}") };
    assert!(artifact.bytes > 0);

    sector.state = proving(sealed, seed);
    cluster.set(&sector).await;
    cluster.order(sector.id, Stage::Finalize, None).await;
    assert_eq!(cluster.facts(Stage::Finalize).await, Facts::Finalize {});
    assert!(!folder.exists(), "the persisted copy is the one");

    let order = UnsealOrder {
        offset_unpadded: 0,
        length_unpadded: 127,
        payload_bytes: u64::try_from(PAYLOAD.len()).unwrap(),
        deliver_to: format!("{}/unsealed", web.url),
    };
    cluster.order(sector.id, Stage::Unseal, Some(order)).await;
    let sha256 = Bytes32(sha2::Sha256::digest(PAYLOAD).into());
    assert_eq!(cluster.facts(Stage::Unseal).await, Facts::Unseal { sha256 });
    assert_eq!(*web.put.lock().unwrap(), PAYLOAD);
    cluster.let_go(sector.id, Stage::Unseal).await;
    assert_eq!(fs::read_dir(host.path("local/scratch")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(host.path("home/agents/a/jobs")).unwrap().count(), 0);
    assert!(agent.terminate().success());
}

/// Placement to PC2.
pub(crate) async fn seal(cluster: &Cluster, sector: &mut SectorRecord) -> Sealed {
    let done = cluster.does(sector, Stage::Place, SectorState::Allocated {}).await;
    let Facts::Place { store } = done else { panic!("{done:?}") };
    let at = at(store);
    if !sector.pieces.is_empty() {
        let done = cluster.does(sector, Stage::AddPiece, SectorState::Placed { at: at.clone() }).await;
        let pieces = sector.pieces.iter().map(|p| p.commitment).collect();
        assert_eq!(done, Facts::AddPiece { pieces });
    }
    let done = cluster.does(sector, Stage::TreeD, SectorState::PiecesAdded { at: at.clone() }).await;
    let Facts::TreeD { comm_d } = done else { panic!("{done:?}") };
    let done = cluster.does(sector, Stage::Pc1, SectorState::TreeDDone { at: at.clone(), comm_d }).await;
    assert_eq!(done, Facts::Pc1 {});
    *sector = cluster.sectors.get(&sector.id.key()).await.unwrap().unwrap().value;
    let SectorState::Ticketed { ticket, .. } = sector.state else { panic!("no ticket: {:?}", sector.state) };
    let done = cluster.does(sector, Stage::Pc2, SectorState::Pc1Done { at: at.clone(), comm_d, ticket }).await;
    let Facts::Pc2 { comm_d: again, comm_r } = done else { panic!("{done:?}") };
    assert_eq!(again, comm_d);
    Sealed { at, ticket, comm_d, comm_r, persisted: None }
}

pub(crate) fn pre_commit() -> PreCommit {
    PreCommit { message: Some(message()), epoch: 150 }
}

pub(crate) fn proving(sealed: Sealed, seed: Drawn) -> SectorState {
    SectorState::Proving {
        sealed: sealed.into(),
        pre_commit: Some(pre_commit()),
        seed: Some(seed),
        prove_commit: Some(message()),
        activation: 400,
        expiration: 9000,
        deadline: 0,
        partition: 0,
        finalized: false,
    }
}

fn message() -> MessageRef {
    MessageRef { sender: "f1abc".to_owned(), nonce: 1 }
}

#[tokio::test]
async fn an_agent_says_what_it_serves_and_is_gone_at_once_when_it_stops() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", &["--class", "pc2-gpu"]);
    let record = wait_for(async || {
        cluster.agents.get("a").await.unwrap().map(|entry| entry.value).ok_or_else(|| "no heartbeat".to_owned())
    })
    .await;
    let classes: Vec<String> = record.classes.iter().map(|c| format!("{}:{}", c.class, c.slots)).collect();
    assert_eq!(classes, ["pc2-gpu:1", "io:1"]);
    assert!(agent.terminate().success());
    assert_eq!(cluster.agents.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_free_class_works_without_any_store() {
    let host = Host::bare();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let c1 = host.path("c1");
    host::durable::write(&c1, b"vanilla").unwrap();
    let artifacts = Artifacts::open(&cluster.nats).await.unwrap();
    let c1 = artifacts.put("c1/test", &c1).await.unwrap();
    // Only what the request says can be checked without parameters.
    let script = host.script("c2-prover", &format!("grep -q vanilla \"$1/c1.json\" && {C2_DONE}"));
    host.configure(&format!("prover = \"{}\"", script.display()));
    let agent = host.agent(cluster.server.url(), "a", &["--class", "c2-gpu"]);

    let mut sector = submitted(3, vec![]);
    let done = cluster.does(&mut sector, Stage::C2, waits_for_c2(c1)).await;
    assert_eq!(done, Facts::C2 { proof: streams::proof::ProofBytes(vec![0, 0, 0]) });
    assert!(agent.terminate().success());
}

/// A stage that failed here as one for another machine waits for another agent, and not for ever.
#[tokio::test]
async fn what_failed_here_is_left_to_another_agent_for_a_while() {
    let host = Host::bare();
    let cluster = Cluster::start(Duration::from_secs(1)).await;
    let c1 = host.path("c1");
    host::durable::write(&c1, b"vanilla").unwrap();
    let c1 = Artifacts::open(&cluster.nats).await.unwrap().put("c1/test", &c1).await.unwrap();
    host.configure(&format!("prover = \"{}\"", host.script("c2-prover", C2_DONE).display()));
    let agent = host.agent(cluster.server.url(), "a", &["--class", "c2-gpu"]);
    let me = wait_for(async || {
        cluster.agents.get("a").await.unwrap().map(|entry| entry.value).ok_or_else(|| "no heartbeat".to_owned())
    })
    .await;
    // Another agent of the class, which never takes anything.
    cluster.agents.put("b", &AgentRecord { agent: "b".parse().unwrap(), ..me.clone() }).await.unwrap();
    let error = StageError {
        at: me.at,
        stage: Stage::C2,
        attempt: 1,
        agent: me.agent,
        code: "missing-params".to_owned(),
        message: "as the test says".to_owned(),
        until: None,
        elsewhere: true,
    };
    let record = submitted(3, vec![]);
    cluster.set(&SectorRecord { state: waits_for_c2(c1), errors: vec![error], ..record.clone() }).await;
    cluster.order(record.id, Stage::C2, None).await;
    assert_eq!(cluster.facts(Stage::C2).await.stage(), Stage::C2);
    let log = agent.log();
    let said = |words: &str| log.find(words).unwrap_or_else(|| panic!("it did not say \"{words}\": {log}"));
    assert!(said("another agent can do it") < said("no other agent took it"), "{log}");
    assert!(agent.terminate().success());
}

/// Shell text: what a prover does that has made a C2 proof.
pub(crate) const C2_DONE: &str =
    r#"echo '{"v":1,"is":"done","work_ms":1,"output":{"stage":"c2","proof":"AAAA"}}' > "$1/result.json""#;

/// A sector sealed elsewhere, whose vanilla proofs are stored.
pub(crate) fn waits_for_c2(c1: ArtifactRef) -> SectorState {
    let elsewhere = streams::sector::Placement {
        place: "elsewhere".parse().unwrap(),
        ..at(streams::id::StoreId(uuid::Uuid::nil()))
    };
    let drawn = |epoch| Drawn { epoch, value: Bytes32([6; 32]) };
    let sealed =
        Sealed { at: elsewhere, ticket: drawn(1), comm_d: Bytes32([1; 32]), comm_r: Bytes32([2; 32]), persisted: None };
    SectorState::C1Done { sealed, pre_commit: pre_commit(), seed: drawn(2), c1 }
}
