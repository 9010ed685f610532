//! Pieces in a bucket, and sectors around them.

use std::{path::Path, sync::Arc};

use axum::http::Method;
use host::exit::Exit;
use sha2::{Digest as _, Sha256};
use streams::{
    id::{MinerId, SectorId, SectorNumber},
    proof::Bytes32,
};
use tokio::net::TcpListener;

use super::{
    agent::Agent,
    world::{LIMIT, World},
};
use crate::{
    cli, command,
    config::Config,
    pieces::{PiecesSection, Secret},
    s3::{BUCKET, KEY_ID, S3, SECRET, Trouble},
};

const PAYLOAD: &[u8] = b"whoever reads this reads it from a bucket";

fn section(url: &str) -> PiecesSection {
    let secret = |text: &str| Some(Secret(text.to_owned()));
    PiecesSection {
        store: Some(format!("s3://{BUCKET}/of/us")),
        endpoint: Some(url.to_owned()),
        access_key_id: secret(KEY_ID),
        secret_access_key: secret(SECRET),
        ..PiecesSection::default()
    }
}

fn config(world: &World, pieces: PiecesSection) -> Config {
    Config { pieces, ..world.config() }
}

async fn submit(world: &World, miner: MinerId, piece: &str) -> Result<(), String> {
    let output = cli::Output { output: host::output::Format::Name };
    let args = cli::Submit { miner, count: None, pieces: vec![piece.to_owned()], output };
    command::submit::submit(&world.nats, args).await.map_err(|error| error.to_string())
}

async fn unseal(world: &World, sector: SectorId, out: Option<&Path>, to: Option<&str>) -> Result<(), String> {
    let (out, to) = (out.map(Path::to_owned), to.map(str::to_owned));
    let args = cli::Unseal { sector, piece: Some(0), out, to, limit: LIMIT };
    command::unseal::unseal(&world.nats, args).await.map_err(|error| error.to_string())
}

async fn hang_up(listener: &TcpListener) {
    drop(listener.accept().await.unwrap());
}

fn digest(bytes: &[u8]) -> Bytes32 {
    Bytes32(Sha256::digest(bytes).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_into_the_bucket_and_comes_back_out_of_a_replica_into_it() {
    let (world, s3) = (World::new().await, S3::start().await);
    let coordinator = world.run_with(config(&world, section(&s3.url))).await;
    let miner = world.miner().await;
    let _agent = Agent::start(&world.nats, Arc::default(), PAYLOAD.to_vec()).await;
    let file = world.home.path().join("note.txt");
    host::durable::write(&file, PAYLOAD).unwrap();
    submit(&world, miner, &file.display().to_string()).await.unwrap();

    let uploaded = format!("of/us/pieces/{}", digest(PAYLOAD));
    assert_eq!(s3.object(&uploaded).unwrap(), PAYLOAD);
    assert_eq!(std::fs::read_dir(world.data().join("pieces")).unwrap().count(), 0, "nothing in the data folder");
    let sector = SectorId { miner, number: SectorNumber(1) };
    let record = world.until_done(sector).await;
    let url = &record.pieces[0].url;
    assert!(url.starts_with("http://127.0.0.1") && !url.contains("X-Amz"), "{url}");
    let fetched = reqwest::get(url).await.unwrap();
    assert!(fetched.url().as_str().starts_with(&s3.url), "sent on to {}", fetched.url());
    assert_eq!(fetched.bytes().await.unwrap(), PAYLOAD);

    let out = world.home.path().join("out.txt");
    unseal(&world, sector, Some(&out), None).await.unwrap();
    assert_eq!(std::fs::read(&out).unwrap(), PAYLOAD);
    unseal(&world, sector, None, Some("s3://sealing/theirs/back.txt")).await.unwrap();
    assert_eq!(s3.object("theirs/back.txt").unwrap(), PAYLOAD);
    assert_eq!(s3.keys().iter().filter(|key| key.starts_with("of/us/unsealed/")).count(), 1);
    for (to, words) in [
        ("s3://sealing/theirs/back.txt", "exists already"),
        ("s3://another/back.txt", "credentials for bucket sealing"),
        ("s3://sealing/", "names no object"),
        ("theirs/back.txt", "does not begin with s3://"),
    ] {
        let error = unseal(&world, sector, None, Some(to)).await.unwrap_err();
        assert!(error.contains(words), "{to}: {error}");
    }

    // S3 is away for a moment when an agent asks: it is asked to come again, and the piece is still the piece.
    s3.fault(Method::HEAD, "of/us/pieces", 99, Trouble::Answer(503, "ServiceUnavailable"));
    assert_eq!(reqwest::get(url).await.unwrap().status(), 503);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_the_bucket_is_sealed_from_where_it_is() {
    let (world, s3) = (World::new().await, S3::start().await);
    let coordinator = world.run_with(config(&world, section(&s3.url))).await;
    let miner = world.miner().await;
    let _agent = Agent::start(&world.nats, Arc::default(), PAYLOAD.to_vec()).await;
    s3.put("theirs/a/dataset.car", PAYLOAD);
    s3.put("theirs/large", &[7; 2033]);
    for (piece, words) in [
        ("s3://sealing/theirs/b", "s3://sealing/theirs/b at http://127.0.0.1"),
        ("s3://sealing/theirs/large", "too large for a sector"),
        ("s3://another/theirs/a", "credentials for bucket sealing, not for another"),
        ("s3://sealing", "names no object"),
    ] {
        let error = submit(&world, miner, piece).await.unwrap_err();
        assert!(error.contains(words), "{piece}: {error}");
    }
    submit(&world, miner, "s3://sealing/theirs/a/dataset.car").await.unwrap();
    let record = world.until_done(SectorId { miner, number: SectorNumber(1) }).await;
    let piece = &record.pieces[0];
    assert_eq!((piece.name.as_str(), piece.payload_sha256), ("s3://sealing/theirs/a/dataset.car", digest(PAYLOAD)));
    assert_eq!(reqwest::get(&piece.url).await.unwrap().bytes().await.unwrap(), PAYLOAD);
    assert!(s3.keys().iter().all(|key| !key.starts_with("of/us/pieces/")), "not copied: {:?}", s3.keys());

    // What was uploaded while there was no bucket is still a file, and is still served.
    let (old, other) = (b"before the bucket".as_slice(), digest(b"never submitted"));
    host::durable::write(&world.data().join("pieces").join(digest(old).to_string()), old).unwrap();
    let base = piece.url.rsplit_once('/').unwrap().0;
    assert_eq!(reqwest::get(format!("{base}/{}", digest(old))).await.unwrap().bytes().await.unwrap(), old);
    let missing = reqwest::get(format!("{base}/{other}")).await.unwrap();
    assert_eq!(missing.status(), 404);
    assert!(missing.text().await.unwrap().contains("bucket sealing"));
    // Without its digest, a payload has no name to be stored under.
    let put = reqwest::Client::new().put(base).body(PAYLOAD).send().await.unwrap();
    assert_eq!(put.status(), 400);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_stops_the_start_and_one_that_is_away_does_not() {
    let (world, s3) = (World::new().await, S3::start().await);
    let wrong = |change: &dyn Fn(&mut PiecesSection)| {
        let mut section = section(&s3.url);
        change(&mut section);
        config(&world, section)
    };
    for (config, words) in [
        (wrong(&|s| s.secret_access_key = Some(Secret("CANARY-of-another".to_owned()))), "SignatureDoesNotMatch"),
        (wrong(&|s| s.access_key_id = Some(Secret("ANOTHER".to_owned()))), "nobody has the key ANOTHER"),
        (wrong(&|s| s.store = Some("s3://another/of/us".to_owned())), "NoSuchBucket"),
    ] {
        let bucket = config.pieces.store.clone().unwrap().replace("/of/us", "");
        let error = world.build(config).await.err().unwrap();
        let told = host::exit::chain(&error);
        assert_eq!(error.exit, Exit::Config, "{told}");
        for word in [words, bucket.as_str(), s3.url.as_str()] {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(error.hint.is_some() && !told.contains("CANARY"), "{told}");
    }

    // At first, whoever answers hangs up.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let coordinator = tokio::select! {
        coordinator = world.run_with(config(&world, section(&url))) => coordinator,
        () = async { loop { hang_up(&listener).await } } => unreachable!(),
    };
    let miner = world.miner().await;
    let file = world.home.path().join("note.txt").display().to_string();
    host::durable::write(Path::new(&file), PAYLOAD).unwrap();
    let comes = async {
        hang_up(&listener).await;
        S3::start_on(listener)
    };
    let (submitted, s3) = tokio::join!(submit(&world, miner, &file), comes);
    submitted.unwrap();
    assert_eq!(s3.object(&format!("of/us/pieces/{}", digest(PAYLOAD))).unwrap(), PAYLOAD);
    assert!(s3.asked("PUT /sealing/of/us/pieces/") > 0);
    coordinator.stop().await;
}
