//! Vanilla window-PoSt proofs where the replica is.

use std::time::Duration;

use streams::{
    id::{SectorNumber, StoreId},
    message::{PostOutcome, PostResult, PostSector, PostTask, PostWork, decode},
    proof::Bytes32,
    pull::Intake,
    sector::SectorState,
    stage::{Class, Stage},
    subject::{PostSubject, Whither},
};

use crate::{
    cluster::{Cluster, LIMIT, PROOF, submitted},
    host_files::Host,
    life::seal,
};

#[tokio::test]
async fn what_is_here_is_proven_and_what_is_not_is_named() {
    let host = Host::with_stores();
    let cluster = Cluster::start(Duration::from_secs(20)).await;
    let agent =
        host.agent(cluster.server.url(), "a", &["--class", "pc1-cpu", "--class", "pc2-gpu", "--class", "post-io"]);
    let mut sector = submitted(17, vec![]);
    let sealed = seal(&cluster, &mut sector).await;
    let done = cluster.does(&mut sector, Stage::Persist, SectorState::Pc2Done { sealed: sealed.clone() }).await;
    let streams::message::Facts::Persist { store, .. } = done else { panic!("{done:?}") };

    let place = "here".parse().unwrap();
    let subject = PostSubject {
        class: Class::PostIo,
        whither: Whither::At(place),
        miner: sector.id.miner,
        open: 30,
        partition: 0,
        attempt: 1,
    };
    let here = PostSector { number: sector.id.number, comm_r: sealed.comm_r, store };
    let lost = PostSector { number: SectorNumber(18), comm_r: sealed.comm_r, store: StoreId(uuid::Uuid::nil()) };
    let task = PostTask {
        miner: sector.id.miner,
        deadline: 1,
        open: 30,
        close: 45,
        partition: 0,
        attempt: 1,
        proof: PROOF,
        randomness: Bytes32([7; 32]),
        work: PostWork::Vanilla { sectors: vec![here, lost], order: vec![SectorNumber(17), SectorNumber(18)] },
    };
    cluster.nats.publish_post_task(&subject, &task, LIMIT).await.unwrap();

    let results = Intake::post_results(&cluster.nats).await.unwrap();
    let delivery = results.next(LIMIT).await.unwrap().expect("no PoSt result");
    let result: PostResult = decode(delivery.payload()).unwrap();
    let PostOutcome::Vanilla { artifact, proven, bad } = result.outcome else { panic!("{:?}", result.outcome) };
    assert_eq!(proven, [SectorNumber(17)]);
    assert_eq!(bad.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [SectorNumber(18)]);
    let artifacts = streams::artifact::Artifacts::open(&cluster.nats).await.unwrap();
    artifacts.get(&artifact, &host.path("vanilla")).await.unwrap();
    let proofs: Vec<String> = serde_json::from_slice(&std::fs::read(host.path("vanilla")).unwrap()).unwrap();
    assert_eq!(proofs.len(), 1);
    assert!(agent.terminate().success());
}
