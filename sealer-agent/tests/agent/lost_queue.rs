//! The queue is lost with everything in it while an agent works.

use std::{fs, time::Duration};

use streams::{
    id::MinerId,
    inventory::InventoryRequest,
    layout::{LayoutOptions, ensure},
    message::Facts,
    sector::{SectorRecord, SectorState},
    stage::Stage,
};

use crate::{
    adoption::Sealing,
    cluster::{Cluster, LIMIT, submitted, wait_for},
    ends::PC1,
    host_files::Host,
};

const ACK_WAIT: Duration = Duration::from_secs(2);

/// Kills the server, and starts it again with nothing in it.
async fn wipe(cluster: &mut Cluster) {
    cluster.server.kill9().await;
    fs::remove_dir_all(cluster.server.dir().join("store")).unwrap();
    cluster.server.restart().await;
}

/// As the coordinator does, in the next life of the queue.
async fn lay_out(cluster: &Cluster) {
    wait_for(async || {
        let options = LayoutOptions { replicas: 1, ack_wait: ACK_WAIT };
        ensure(&cluster.nats, &options).await.map_err(|error| error.to_string())
    })
    .await;
}

fn in_next_life(record: &SectorRecord) -> SectorRecord {
    SectorRecord { incarnation: record.incarnation.next(), ..record.clone() }
}

#[tokio::test]
async fn a_result_waits_for_its_record_to_come_back() {
    let mut sealing = Sealing::start(ACK_WAIT).await;
    wipe(&mut sealing.cluster).await;
    sealing.host.release();
    let results = sealing.host.path("home/agents/a/results");
    wait_for(async || match fs::read_dir(&results).unwrap().count() {
        1 => Ok(()),
        other => Err(format!("{other} results in the journal")),
    })
    .await;
    lay_out(&sealing.cluster).await;
    // The agent announces itself, and makes the consumers of its place, before there is any work.
    wait_for(async || match sealing.cluster.agents.get("a").await {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("the agent is not announced: {other:?}")),
    })
    .await;
    wait_for(async || {
        let stream = sealing.cluster.nats.jetstream().get_stream("TASKS").await.map_err(|e| e.to_string())?;
        stream.consumer_info("pc1-cpu_here").await.map(drop).map_err(|e| e.to_string())
    })
    .await;
    let record = in_next_life(&sealing.sector);
    sealing.cluster.set(&record).await;
    // The task of the next life must not start a second prover.
    sealing.cluster.order(record.id, Stage::Pc1, None).await;
    let result = sealing.result().await;
    assert_eq!((result.claim.incarnation, result.claim.attempt), (record.incarnation, 1));
    sealing.move_on().await;
    assert_eq!(fs::read_dir(&results).unwrap().count(), 0);
    assert!(sealing.agent.terminate().success());
}

#[tokio::test]
async fn work_goes_on_in_the_next_life_of_the_queue() {
    let mut sealing = Sealing::start(ACK_WAIT).await;
    wipe(&mut sealing.cluster).await;
    lay_out(&sealing.cluster).await;
    let record = in_next_life(&sealing.sector);
    sealing.cluster.set(&record).await;
    let claim = format!("{}.pc1", record.id.key());
    wait_for(async || match sealing.cluster.claims.get(&claim).await {
        Ok(Some(found)) if found.value.incarnation == record.incarnation => Ok(()),
        other => Err(format!("the claim is {other:?}")),
    })
    .await;
    sealing.cluster.order(record.id, Stage::Pc1, None).await;
    sealing.host.release();
    let result = sealing.result().await;
    assert_eq!((result.claim.incarnation, result.claim.attempt), (record.incarnation, 1));
    sealing.move_on().await;
    let manifest = fs::read_to_string(sealing.host.path("local/sectors/s-t01000-1/manifest.json")).unwrap();
    assert!(manifest.contains("\"v\":2"), "{manifest}");
    assert!(sealing.agent.terminate().success());
}

#[tokio::test]
async fn an_agent_says_what_its_stores_hold() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent = host.agent(cluster.server.url(), "a", PC1);
    let mut sector = submitted(17, vec![]);
    let done = cluster.does(&mut sector, Stage::Place, SectorState::Allocated {}).await;
    let Facts::Place { store } = done else { panic!("{done:?}") };
    let name = "a".parse().unwrap();
    let told = cluster.nats.ask_agent(&name, &InventoryRequest { after: None }, LIMIT).await.unwrap();
    assert_eq!((told.agent, told.next, told.unreadable), (name, None, vec![]));
    let [holding] = &told.holdings[..] else { panic!("{:?}", told.holdings) };
    assert_eq!((holding.store, holding.sector, holding.incarnation), (store, sector.id, sector.incarnation));
    assert_eq!((holding.place.as_str(), holding.generation, holding.ticket), ("here", 1, None));
    assert_eq!(told.high_water, [(MinerId(1000), sector.id.number)]);
    assert!(agent.terminate().success());
}
