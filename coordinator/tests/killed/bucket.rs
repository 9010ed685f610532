//! A coordinator dies while pieces and unsealed data are on their way into a bucket.

use std::{fs, path::Path, sync::Arc};

use prover::fake::FakeVerifier;
use streams::{id::SectorNumber, proof::SealProof, testing::wait_for};

use crate::{
    cluster::LIMIT,
    folder::MINER,
    s3::{BUCKET, KEY_ID, S3, SECRET},
    world::{World, is_sent},
};

/// More than one part of an upload.
const LARGE_BYTES: usize = (9 << 20) + 1;

async fn world(s3: &S3, proof: SealProof) -> World {
    let store = format!("s3://{BUCKET}/of/us");
    let env = [
        ("SEALSTREAM_COORDINATOR_PIECES__STORE", store.as_str()),
        ("SEALSTREAM_COORDINATOR_PIECES__ENDPOINT", &s3.url),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    World::with(proof, Arc::new(FakeVerifier), &env).await
}

/// A file of so many bytes, as an argument.
fn file(root: &Path, bytes: usize) -> String {
    let path = root.join("piece.bin");
    let payload: Vec<u8> = (0_u8..=250).cycle().take(bytes).collect();
    host::durable::write(&path, &payload).unwrap();
    path.display().to_string()
}

/// The keys of stored pieces.
fn pieces(s3: &S3) -> Vec<String> {
    s3.keys().into_iter().filter(|key| key.contains("/pieces/")).collect()
}

/// Notes of uploads that are not finished.
fn notes(world: &World) -> usize {
    fs::read_dir(world.cluster.home.join("coordinator/uploads")).unwrap().count()
}

async fn nothing_is_unfinished(world: &World, s3: &S3) {
    wait_for(LIMIT, || async {
        let left = (s3.unfinished(), notes(world));
        if left == (Vec::new(), 0) { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// A submission is cut off, and made again: one sector, and one object.
async fn submission_dies_at(failpoint: &str, proof: SealProof, bytes: usize) -> (World, S3) {
    let s3 = S3::start().await;
    let world = world(&s3, proof).await;
    let piece = file(world.root.path(), bytes);
    let dying = world.coordinator_to_die(failpoint).await;
    let submitting = world.cluster.spawn("coordinator", &["submit", "--miner", &MINER.to_string(), &piece]);
    dying.has_died().await;
    drop(submitting);
    (world, s3)
}

async fn it_is_submitted(world: &World, s3: &S3, bytes: usize, failpoint: &str) {
    let piece = file(world.root.path(), bytes);
    let sectors = world.submitted(&[&piece]);
    assert_eq!(sectors.iter().map(|id| id.number).collect::<Vec<_>>(), [SectorNumber(1)], "{failpoint}");
    let pieces = pieces(s3);
    assert_eq!(pieces.len(), 1, "{failpoint}: {pieces:?}");
    assert_eq!(s3.object(&pieces[0]).unwrap(), fs::read(piece).unwrap(), "{failpoint}");
    assert_eq!(world.records().await.len(), 1, "{failpoint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_was_stored_is_submitted_once() {
    let failpoint = "coordinator.bucket.piece-stored";
    let (world, s3) = submission_dies_at(failpoint, SealProof::Drg2KiBV1_1, 1_000).await;
    let _coordinator = world.cluster.coordinator().await;
    it_is_submitted(&world, &s3, 1_000, failpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_off_is_thrown_away() {
    for failpoint in ["coordinator.bucket.upload-begun", "coordinator.bucket.upload-noted"] {
        let (world, s3) = submission_dies_at(failpoint, SealProof::Drg512MiBV1_1, LARGE_BYTES).await;
        let _coordinator = world.cluster.coordinator().await;
        if failpoint.ends_with("begun") {
            // It was not noted, and nobody can ask for uploads: it is empty, and costs nothing.
            assert_eq!((s3.unfinished().len(), s3.asked("partNumber="), notes(&world)), (1, 0, 0));
        } else {
            nothing_is_unfinished(&world, &s3).await;
        }
        it_is_submitted(&world, &s3, LARGE_BYTES, failpoint).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_finished_stays() {
    let failpoint = "coordinator.bucket.upload-completed";
    let (world, s3) = submission_dies_at(failpoint, SealProof::Drg512MiBV1_1, LARGE_BYTES).await;
    assert_eq!((pieces(&s3).len(), notes(&world)), (1, 1), "its note is still there");
    let _coordinator = world.cluster.coordinator().await;
    nothing_is_unfinished(&world, &s3).await;
    it_is_submitted(&world, &s3, LARGE_BYTES, failpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throwing_away_is_done_again_when_it_was_cut_off() {
    let noted = "coordinator.bucket.upload-noted";
    let (world, s3) = submission_dies_at(noted, SealProof::Drg512MiBV1_1, LARGE_BYTES).await;
    let failpoint = "coordinator.bucket.upload-thrown-away";
    world.cluster.spawn_to_die("coordinator", &["run"], failpoint).has_died().await;
    assert_eq!((s3.unfinished().len(), notes(&world)), (0, 1), "only the note is left");
    let _coordinator = world.cluster.coordinator().await;
    nothing_is_unfinished(&world, &s3).await;
    it_is_submitted(&world, &s3, LARGE_BYTES, failpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_referred_to_is_submitted_once() {
    let s3 = S3::start().await;
    s3.put("theirs/dataset.car", &[7; 900]);
    let world = world(&s3, SealProof::Drg2KiBV1_1).await;
    let object = format!("s3://{BUCKET}/theirs/dataset.car");
    let dying = world.coordinator_to_die("coordinator.bucket.piece-referred").await;
    let submitting = world.cluster.spawn("coordinator", &["submit", "--miner", &MINER.to_string(), &object]);
    dying.has_died().await;
    drop(submitting);
    let _coordinator = world.cluster.coordinator().await;
    let sectors = world.submitted(&[&object]);
    assert_eq!((sectors.len(), world.records().await.len()), (1, 1));
    assert_eq!(s3.keys().iter().filter(|key| key.contains("references/")).count(), 1, "{:?}", s3.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn unsealed_data_is_delivered_again_to_a_coordinator_that_died_over_it() {
    let s3 = S3::start().await;
    let world = world(&s3, SealProof::Drg2KiBV1_1).await;
    let coordinator = world.cluster.coordinator().await;
    let _agent = world.agent("sealer", &["pc1-cpu", "pc2-gpu"]);
    let piece = file(world.root.path(), 1_000);
    let sector = world.submitted(&[&piece])[0];
    world.until(sector, is_sent).await;
    drop(coordinator);

    let to = format!("s3://{BUCKET}/back/piece");
    let dying = world.coordinator_to_die("coordinator.bucket.unsealed-stored").await;
    let unseal = ["unseal", &sector.to_string(), "--piece", "0", "--to", &to];
    let unsealing = world.cluster.spawn("coordinator", &unseal);
    dying.has_died().await;
    let _coordinator = world.cluster.coordinator().await;
    unsealing.has_succeeded().await;
    assert_eq!(s3.object("back/piece").unwrap(), fs::read(piece).unwrap());
    assert_eq!(s3.unfinished(), Vec::<String>::new());
}
