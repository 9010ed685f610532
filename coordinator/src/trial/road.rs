//! The road, and accidents on it.

use std::{collections::BTreeMap, sync::Arc};

use streams::{
    control::{SubmitRequest, UnsealRequest},
    id::{MinerId, SectorId},
    message::FailureClass,
    stage::Stage,
};

use super::{
    agent::{Agent, Fault, Faults},
    world::{LIMIT, World},
};
use crate::{cli, command};

const PAYLOAD: &[u8] = b"whoever reads this reads it from a replica";

fn no_faults() -> Faults {
    Arc::default()
}

async fn submit_empty(world: &World, miner: MinerId, count: u64) -> Vec<SectorId> {
    world.ask(&SubmitRequest { miner, count, pieces: Vec::new() }).await.sectors
}

fn submit_args(miner: MinerId, file: &std::path::Path) -> cli::Submit {
    cli::Submit {
        miner,
        count: None,
        pieces: vec![file.display().to_string()],
        output: cli::Output { output: host::output::Format::Name },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_sector_and_one_with_a_file_are_proven_and_read_back() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let _agent = Agent::start(&world.nats, no_faults(), PAYLOAD.to_vec()).await;
    let empty = submit_empty(&world, miner, 1).await[0];
    let file = world.home.path().join("note.txt");
    host::durable::write(&file, PAYLOAD).unwrap();
    command::submit::submit(&world.nats, submit_args(miner, &file)).await.unwrap();
    let with_file = SectorId { miner, number: streams::id::SectorNumber(empty.number.0 + 1) };

    let record = world.until_done(empty).await;
    let stages: Vec<Stage> = record.story.iter().map(|run| run.stage).collect();
    assert!(!stages.contains(&Stage::AddPiece), "{stages:?}");
    let record = world.until_done(with_file).await;
    assert_eq!(record.pieces[0].name, "note.txt");
    assert_eq!(record.messages.iter().map(|m| m.exit_code).collect::<Vec<_>>(), [Some(0), Some(0)]);
    assert!(record.messages.iter().all(|m| m.cid.is_some() && m.gas_used.is_some()));
    assert!(record.errors.is_empty());

    let out = world.home.path().join("out.txt");
    let args = cli::Unseal { sector: with_file, piece: Some(0), out: Some(out.clone()), to: None, limit: LIMIT };
    command::unseal::unseal(&world.nats, args).await.unwrap();
    assert_eq!(std::fs::read(&out).unwrap(), PAYLOAD);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_are_found_out_and_failures_tried_again() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let faults = Arc::new(std::sync::Mutex::new(BTreeMap::from([
        (Stage::TreeD, vec![Fault::Lie]),
        (Stage::Pc2, vec![Fault::Fail(FailureClass::RetryHere)]),
        (Stage::C2, vec![Fault::Lie]),
    ])));
    let _agent = Agent::start(&world.nats, Arc::clone(&faults), Vec::new()).await;
    let sector = submit_empty(&world, miner, 1).await[0];
    let record = world.until_done(sector).await;
    assert!(faults.lock().unwrap().values().all(Vec::is_empty), "{faults:?}");
    assert_eq!(record.state.placement().map(|at| at.generation), Some(2), "tree-d was done anew");
    let c1_runs = record.story.iter().filter(|run| run.stage == Stage::C1).count();
    assert_eq!(c1_runs, 2, "a proof that does not verify begins again at C1");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_was_gone_finds_what_was_lost_meanwhile() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let sector = submit_empty(&world, miner, 1).await[0];
    coordinator.stop().await;
    // The pointer is lost with the stream's messages; nobody is told.
    let tasks = world.nats.jetstream().get_stream("TASKS").await.unwrap();
    tasks.purge().await.unwrap();

    let coordinator = world.run().await;
    let _agent = Agent::start(&world.nats, no_faults(), Vec::new()).await;
    let known = world.ask(&streams::control::InfoRequest {}).await;
    assert_eq!(known.miners, [miner], "a miner it made is remembered");
    world.until_done(sector).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_gets_better_is_parked_and_a_person_resumes_it() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let faults = Arc::new(std::sync::Mutex::new(BTreeMap::from([(Stage::Pc1, vec![Fault::Fail(FailureClass::Park)])])));
    let _agent = Agent::start(&world.nats, faults, Vec::new()).await;
    let sector = submit_empty(&world, miner, 1).await[0];
    world.until(sector, &["parked"]).await;
    world.ask(&streams::control::RetryRequest { sector, from: None }).await;
    world.until_done(sector).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_words_with_a_hint_and_leave_nothing() {
    let world = World::new().await;
    let coordinator = world.run().await;
    let miner = world.miner().await;
    let large = world.home.path().join("large.bin");
    host::durable::write(&large, &[7; 2033]).unwrap();
    let error = command::submit::submit(&world.nats, submit_args(miner, &large)).await.unwrap_err();
    for word in ["large.bin", "2033", "2032"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    let error = command::submit::submit(&world.nats, submit_args(MinerId(999_999), &large)).await.unwrap_err();
    assert!(error.to_string().contains("f0999999") && error.hint.is_some(), "{error}");
    let refused =
        world.nats.ask(&SubmitRequest { miner: MinerId(5), count: 1, pieces: Vec::new() }, LIMIT).await.unwrap_err();
    assert!(refused.to_string().contains("f05") && refused.hint().is_some(), "{refused}");
    let sector = SectorId { miner, number: streams::id::SectorNumber(77) };
    let refused = world.nats.ask(&UnsealRequest { sector, piece: None, to: None }, LIMIT).await.unwrap_err();
    assert!(refused.to_string().contains(&sector.to_string()), "{refused}");
    let pieces = world.home.path().join("coordinator/pieces");
    assert_eq!(std::fs::read_dir(pieces).unwrap().count(), 0);

    // A second coordinator on the same folder, on the same port, and against a chain that is not there.
    assert_eq!(world.build(world.config()).await.err().map(|e| e.exit), Some(host::exit::Exit::Busy));
    coordinator.stop().await;
    let mut config = world.config();
    config.chain.api = "http://127.0.0.1:1".to_owned();
    assert_eq!(world.build(config).await.err().map(|e| e.exit), Some(host::exit::Exit::Unavailable));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = world.config();
    config.http.listen = taken.local_addr().unwrap();
    let error = world.build(config).await.err().unwrap();
    assert!(error.to_string().contains("http.listen") && error.hint.is_some(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over() {
    let world = World::new().await;
    let first = world.run().await;
    let miner = world.miner().await;
    let standby_home = tempfile::tempdir().unwrap();
    let mut config = world.config();
    config.miners =
        vec![crate::config::MinerSection { id: miner, pre_commit_key_file: None, prove_commit_key_file: None }];
    let app = crate::app::App::build(config, standby_home.path()).await.unwrap();
    let tasks = host::tasks::Tasks::new();
    app.spawn(&tasks, Arc::new(super::node::Pretended));
    let _agent = Agent::start(&world.nats, no_faults(), Vec::new()).await;
    let sector = submit_empty(&world, miner, 1).await[0];
    first.stop().await;
    let (_stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::select! {
        ended = tasks.run_until(stopped) => panic!("{ended:?}"),
        record = world.until_done(sector) => assert_eq!(record.id, sector),
    }
}
