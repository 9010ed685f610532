//! The server as a process: what it keeps, whom it refuses, and that it is gone afterwards.

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::Path,
    time::Duration,
};

use streams::{
    error::QueueError,
    id::Incarnation,
    kv::{Bucket, BucketName},
    nats::{Nats, NatsConfig},
    pull::Intake,
    records::SectorLock,
    report::{consumer_report, stream_report},
    server::{ServerError, ServerOptions, ServerProcess},
    testing::{TestServer, wait_for},
};
use tempfile::TempDir;

use crate::fixture::*;

#[tokio::test]
async fn a_kill_and_a_restart_keep_everything() {
    let (mut server, nats) = server_with(SOON).await;
    let puller = pc2_puller(&nats, SOON).await;
    let locks = Bucket::<SectorLock>::open(&nats, BucketName::Locks).await.unwrap();
    let lock = SectorLock { place: place(), agent: agent(), generation: 1, incarnation: Incarnation::FIRST };
    let revision = locks.create("f01000.1", &lock).await.unwrap();
    for number in 1..=20 {
        let (subject, task) = pc2(number);
        nats.publish_task(&subject, &task).await.unwrap();
        nats.publish_result(&result(number)).await.unwrap();
    }
    let held = puller.next(SOON).await.unwrap().unwrap();
    let url = server.url().to_owned();
    server.kill9().await;
    server.restart().await;
    assert_eq!(server.url(), url, "its clients find it where it was");

    let rows = stream_report(&nats).await.unwrap();
    let messages = |name: &str| rows.iter().find(|row| row.stream == name).unwrap().messages;
    assert_eq!((messages("TASKS"), messages("RESULTS"), messages("KV_LOCKS")), (20, 20, 1));
    let rows = consumer_report(&nats, "TASKS").await.unwrap();
    let row = rows.iter().find(|row| row.consumer == "pc2-gpu_host1").unwrap();
    // Who held what in the last moment may be forgotten, which costs a second delivery.
    assert_eq!(row.ack_pending + row.unprocessed, 20, "{row:?}");
    drop(held);
    locks.update("f01000.1", &lock, revision).await.unwrap();
    assert_eq!(Intake::results(&nats).await.unwrap().backlog().await.unwrap().pending, 20);
}

fn options(dir: &Path, port: Option<u16>) -> ServerOptions {
    ServerOptions { dir: dir.to_owned(), host: IpAddr::V4(Ipv4Addr::LOCALHOST), port, die_with_parent: true }
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = TempDir::new().unwrap();
    let error = ServerProcess::start(options(dir.path(), Some(port))).await.unwrap_err();
    assert!(matches!(error, ServerError::PortTaken { .. }), "{error}");
    assert_eq!(error.to_string(), format!("port {port} on 127.0.0.1 is taken by another program"));
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_server_stops_in_order_and_its_process_is_gone() {
    let dir = TempDir::new().unwrap();
    let mut server = ServerProcess::start(options(dir.path(), None)).await.unwrap();
    let pid = server.pid().unwrap();
    assert!(is_alive(pid));
    server.stop().await.unwrap();
    assert!(!is_alive(pid));
    assert_eq!(server.pid(), None);
}

#[tokio::test]
async fn a_server_is_gone_when_its_test_panics() {
    let started = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = TestServer::start().await;
            std::panic::panic_any(server.pid().unwrap());
        });
    });
    let pid = *started.join().unwrap_err().downcast::<u32>().unwrap();
    wait_for(SOON, || async { if is_alive(pid) { Err(format!("process {pid} runs on")) } else { Ok(()) } }).await;
}

#[tokio::test]
async fn a_server_whose_owner_is_forgotten_dies_with_the_thread() {
    let started = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = TempDir::new().unwrap();
        let server = runtime.block_on(ServerProcess::start(options(dir.path(), None))).unwrap();
        let pid = server.pid().unwrap();
        // As if the whole test program were killed: nothing is dropped.
        std::mem::forget(server);
        (pid, dir)
    });
    let (pid, _dir) = started.join().unwrap();
    wait_for(SOON, || async { if is_alive(pid) { Err(format!("process {pid} runs on")) } else { Ok(()) } }).await;
}

/// A process that is there and is not merely waiting to be reaped.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    matches!(state, Some(state) if state != 'Z' && state != 'X')
}

fn config(url: &str) -> NatsConfig {
    NatsConfig { url: url.to_owned(), name: "test".to_owned(), connect_timeout: Duration::from_secs(5) }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_with_a_hint() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let error = Nats::connect(&config(&format!("nats://{free}"))).await.unwrap_err();
    assert!(matches!(error, QueueError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");
    assert!(error.hint().unwrap().contains("nats-server"));
    let error = Nats::connect(&config("nats://host name")).await.unwrap_err();
    assert!(matches!(error, QueueError::BadUrl { .. }), "{error}");
}

/// A server that says it is `version`, and little else.
async fn impostor(version: &str, jetstream: bool) -> (tokio::net::TcpListener, String, String) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let info = serde_json::json!({
        "server_id": "X", "server_name": "X", "host": "127.0.0.1", "port": port, "version": version, "proto": 1,
        "go": "go1", "headers": true, "max_payload": 1_048_576, "jetstream": jetstream, "client_id": 1,
    });
    (listener, format!("nats://127.0.0.1:{port}"), format!("INFO {info}\r\n"))
}

/// Answers every ping, and forbids publishing to `forbidden`.
async fn greet(listener: tokio::net::TcpListener, info: String, forbidden: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut client, _) = listener.accept().await.unwrap();
    client.write_all(info.as_bytes()).await.unwrap();
    let mut words = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut words).await {
        let said = String::from_utf8_lossy(words.get(..count).unwrap());
        if said.contains("PING") {
            client.write_all(b"PONG\r\n").await.unwrap();
        }
        if said.contains(&format!("PUB {forbidden}")) {
            let refusal = format!("-ERR 'Permissions Violation for Publish to \"{forbidden}\"'\r\n");
            client.write_all(refusal.as_bytes()).await.unwrap();
        }
    }
}

async fn connect_to_impostor(version: &str, jetstream: bool) -> QueueError {
    let (listener, url, info) = impostor(version, jetstream).await;
    let config = config(&url);
    tokio::select! {
        result = Nats::connect(&config) => result.unwrap_err(),
        () = greet(listener, info, "") => panic!("the client left without an answer"),
    }
}

#[tokio::test]
async fn a_refused_permission_is_told_at_once_and_not_as_a_time_out() {
    let (listener, url, info) = impostor("2.15.1", true).await;
    let subject = "res.host1-gpu.f01000.1";
    let publishing = async {
        let nats = Nats::connect(&config(&url)).await.unwrap();
        nats.publish_result(&result(1)).await.unwrap_err()
    };
    let error = tokio::select! {
        error = publishing => error,
        () = greet(listener, info, subject) => panic!("the client left without an answer"),
    };
    assert!(matches!(error, QueueError::NotPermitted { .. }), "{error}");
    assert!(error.to_string().contains(subject), "{error}");
}

#[tokio::test]
async fn a_server_that_loses_data_is_refused_by_both_versions() {
    let error = connect_to_impostor("2.12.14", true).await;
    let QueueError::ServerTooOld { found, .. } = &error else { panic!("{error}") };
    assert!(found.to_string().contains("2.12.14") && found.to_string().contains("2.12.15"), "{found}");
    assert!(error.to_string().contains("2.12.14"), "{error}");
    assert!(error.hint().unwrap().contains("2.15.1"));
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let error = connect_to_impostor("2.15.1", false).await;
    assert!(matches!(error, QueueError::NoJetStream { .. }), "{error}");
    assert!(error.hint().unwrap().contains("nats.conf"));
}

#[tokio::test]
async fn the_server_runs_with_the_repositorys_settings() {
    let server = TestServer::start().await;
    let conf = std::fs::read_to_string(server.dir().join("nats.conf")).unwrap();
    assert!(conf.lines().any(|line| line.trim() == "sync_interval: always"), "{conf}");
    let log = std::fs::read_to_string(server.dir().join("nats-server.log")).unwrap();
    assert!(log.contains("Starting JetStream"), "{log}");
    assert!(log.contains(&server.dir().canonicalize().unwrap().join("store").display().to_string()), "{log}");
}
