//! Against an S3 service over HTTP that checks signatures, and stumbles when told to.

use axum::http::Method;
use futures::stream;
use host::clock::SystemClock;
use streams::{id::SectorId, testing::wait_for};

use super::*;
use crate::{
    pieces::config::Secret,
    s3::{BUCKET, KEY_ID, S3, SECRET, Trouble},
};

const LIMIT: Duration = Duration::from_secs(60);
/// Three parts, the last of them short.
const LARGE: usize = 20 << 20;

struct World {
    s3: S3,
    data: tempfile::TempDir,
    depot: Arc<Depot>,
    unseals: Unseals,
}

fn section(url: &str) -> PiecesSection {
    PiecesSection {
        store: Some(format!("s3://{BUCKET}/of/us")),
        endpoint: Some(url.to_owned()),
        access_key_id: Some(Secret(KEY_ID.to_owned())),
        secret_access_key: Some(Secret(SECRET.to_owned())),
        ..PiecesSection::default()
    }
}

impl World {
    async fn new() -> Self {
        let (s3, data) = (S3::start().await, tempfile::tempdir().unwrap());
        let depot = Depot::open(&section(&s3.url), data.path()).await.unwrap().unwrap();
        let unseals = Unseals::open(data.path(), 0).unwrap().in_bucket(Some(Arc::clone(&depot)));
        Self { s3, data, depot, unseals }
    }

    async fn store(&self, payload: &[u8]) -> Result<Measured, TakeError> {
        self.depot.store(sent(payload), len(payload), digest(payload)).await
    }

    /// As the running service does, until nothing unfinished is left.
    async fn until_swept(&self) {
        let (cancel, clock) = (CancellationToken::new(), SystemClock);
        let swept = wait_for(LIMIT, || async {
            let left = (self.s3.unfinished(), self.notes());
            if left == (Vec::new(), 0) { Ok(()) } else { Err(format!("{left:?}")) }
        });
        tokio::select! {
            () = self.depot.run(&self.unseals, &clock, &cancel) => panic!("it ended by itself"),
            () = swept => {}
        }
    }

    fn notes(&self) -> usize {
        std::fs::read_dir(self.data.path().join("uploads")).unwrap().count()
    }

    fn order(&self, payload: &[u8], to: Option<&str>) -> (String, Order) {
        let sector = SectorId::from_key("f01000.17").unwrap();
        let to = to.map(str::to_owned);
        let order = Order { sector, bytes: len(payload), sha256: Some(digest(payload)), to };
        (self.unseals.order(&order).unwrap(), order)
    }
}

fn payload(length: usize) -> Vec<u8> {
    (0_u8..=250).cycle().take(length).collect()
}

fn len(payload: &[u8]) -> u64 {
    u64::try_from(payload.len()).unwrap()
}

fn digest(payload: &[u8]) -> Sha256 {
    Bytes32(Hasher::digest(payload).into())
}

/// A payload as a network brings it.
fn sent(payload: &[u8]) -> impl Stream<Item = Result<Bytes, String>> + use<> {
    let chunks: Vec<_> = payload.chunks(100_003).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks)
}

/// The same, of a client that is lost on the way.
fn broken(payload: &[u8]) -> impl Stream<Item = Result<Bytes, String>> + use<> {
    sent(payload).chain(stream::iter([Err("the client is gone".to_owned())]))
}

fn of_us(what: &str) -> String {
    format!("of/us/{what}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_of_any_size_lands_whole_and_can_be_fetched_by_address_alone() {
    let world = World::new().await;
    for length in [1, 127, PART, PART + 1, LARGE] {
        let payload = payload(length);
        let measured = world.store(&payload).await.unwrap();
        let (commitment, padded_bytes) = prover::piece_commitment(&*payload, len(&payload)).unwrap();
        assert_eq!((measured.commitment, measured.padded_bytes), (commitment, padded_bytes), "{length}");
        let address = world.depot.locate(&measured.payload_sha256).await.unwrap().unwrap();
        let fetched = reqwest::get(&address).await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
        assert!(fetched == payload, "{length}");
        assert!(!address.contains(SECRET));
        let unsigned = address.split_once('?').unwrap().0;
        assert_eq!(reqwest::get(unsigned).await.unwrap().status(), 403, "only the signature lets in");
        assert_eq!(reqwest::get(format!("{address}0")).await.unwrap().status(), 403);
    }
    assert_eq!((world.s3.unfinished(), world.notes()), (Vec::new(), 0));
    assert_eq!(world.depot.locate(&digest(b"another")).await.unwrap(), None);
}

const PART: usize = crate::pieces::bucket::PART_BYTES;

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_costs_nothing() {
    let world = World::new().await;
    world.s3.fault(Method::POST, "?uploads", 1, Trouble::Answer(500, "InternalError"));
    world.s3.fault(Method::PUT, "partNumber=2", 2, Trouble::Answer(503, "SlowDown"));
    world.s3.fault(Method::PUT, "partNumber=1", 1, Trouble::Cut(0));
    world.s3.fault(Method::POST, "uploadId", 1, Trouble::Answer(503, "ServiceUnavailable"));
    let payload = payload(LARGE);
    let measured = world.store(&payload).await.unwrap();
    let key = of_us(&format!("pieces/{}", measured.payload_sha256));
    assert!(world.s3.object(&key).unwrap() == payload);
    assert_eq!(world.s3.unfinished(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_ends_early_leaves_nothing() {
    let world = World::new().await;
    let whole = payload(LARGE);
    let (bytes, sha256) = (len(&whole), digest(&whole));
    let cut = world.depot.store(broken(&whole[..LARGE - 1]), bytes, sha256).await.unwrap_err();
    assert_eq!(cut.to_string(), "the transfer broke: the client is gone");
    let short = world.depot.store(sent(&whole[..LARGE - 1]), bytes, sha256).await.unwrap_err();
    assert!(short.to_string().contains("were announced"), "{short}");
    let long = world.depot.store(sent(&whole), bytes - 1, sha256).await.unwrap_err();
    assert!(long.to_string().contains("were announced"), "{long}");
    let other = world.depot.store(sent(&whole), bytes, digest(b"other")).await.unwrap_err();
    assert!(matches!(other, TakeError::WrongDigest { .. }), "{other}");
    // The client's connection is gone, and with it whoever was storing.
    let pending = sent(&whole[..LARGE / 2]).chain(stream::pending());
    let dropped = tokio::time::timeout(Duration::from_millis(500), world.depot.store(pending, bytes, sha256)).await;
    assert!(dropped.is_err());
    assert_eq!(world.s3.unfinished().len(), 5, "each had begun");
    // The service is away when it is to throw them away, and then is not.
    world.s3.fault(Method::DELETE, "uploadId", 9, Trouble::Answer(503, "ServiceUnavailable"));
    world.until_swept().await;
    assert_eq!(world.s3.keys(), [of_us("sealstream.txt")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_coordinator_was_uploading_is_thrown_away_by_the_next() {
    let mut world = World::new().await;
    let payload = payload(LARGE);
    let mut upload = world.depot.upload(Path::from("of/us/pieces/half"));
    upload.push(Bytes::from(payload)).await.unwrap();
    // Nothing of a killed process is dropped.
    std::mem::forget(upload);
    assert_eq!((world.s3.unfinished().len(), world.notes()), (1, 1));
    world.depot = Depot::open(&section(&world.s3.url), world.data.path()).await.unwrap().unwrap();
    world.until_swept().await;
    assert_eq!(world.s3.keys(), [of_us("sealstream.txt")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_named_and_leaves_nothing() {
    let world = World::new().await;
    world.s3.fault(Method::POST, "uploadId", 99, Trouble::Answer(500, "InternalError"));
    let error = world.store(&payload(LARGE)).await.unwrap_err();
    let words = host::exit::chain(&error);
    for word in ["store it in the bucket", "finish writing s3://sealing/of/us/pieces/", &world.s3.url, "InternalError"]
    {
        assert!(words.contains(word), "{word}: {words}");
    }
    world.s3.fault(Method::PUT, "partNumber=2", 1, Trouble::Answer(403, "AccessDenied"));
    let error = host::exit::chain(&world.store(&payload(LARGE)).await.unwrap_err());
    assert!(
        error.contains("write a part of s3://sealing/") && error.contains("AccessDenied: as the test says"),
        "{error}"
    );
    world.until_swept().await;
    assert_eq!(world.s3.keys(), [of_us("sealstream.txt")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_is_in_the_bucket_is_read_once_and_stays_where_it_is() {
    let world = World::new().await;
    let payload = payload(LARGE);
    world.s3.put("theirs/a b+c/dataset.car", &payload);
    let url: S3Url = "s3://sealing/theirs/a b+c/dataset.car".parse().unwrap();
    world.s3.fault(Method::GET, "dataset.car", 1, Trouble::Cut(1_000_000));
    world.s3.fault(Method::GET, "dataset.car", 2, Trouble::Answer(500, "InternalError"));
    let measured = world.depot.refer(&url, u64::MAX).await.unwrap();
    assert_eq!((measured.payload_sha256, measured.payload_bytes), (digest(&payload), len(&payload)));
    assert_eq!(measured.commitment, prover::piece_commitment(&*payload, len(&payload)).unwrap().0);
    let note = of_us(&format!("references/{}.json", measured.payload_sha256));
    assert_eq!(world.s3.keys(), [note, of_us("sealstream.txt"), "theirs/a b+c/dataset.car".to_owned()]);
    let address = world.depot.locate(&measured.payload_sha256).await.unwrap().unwrap();
    assert!(reqwest::get(&address).await.unwrap().bytes().await.unwrap() == payload);

    let error = world.depot.refer(&url, len(&payload) - 1).await.unwrap_err();
    assert!(matches!(error, TakeError::TooLarge { .. }), "{error}");
    let gone: S3Url = "s3://sealing/theirs/nothing".parse().unwrap();
    let error = host::exit::chain(&world.depot.refer(&gone, u64::MAX).await.unwrap_err());
    assert!(error.contains("s3://sealing/theirs/nothing") && error.contains("404"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_while_it_is_read_is_no_piece() {
    let world = World::new().await;
    world.s3.put("theirs/a", &payload(LARGE));
    let meta = world.depot.bucket.head(&Path::from("theirs/a")).await.unwrap();
    let mut read = pin!(world.depot.bucket.read(&meta));
    assert_eq!(read.next().await.unwrap().unwrap().len(), PART);
    world.s3.put("theirs/a", &vec![7; LARGE]);
    let mut last = Ok(Bytes::new());
    while let Some(next) = read.next().await {
        last = next;
        if last.is_err() {
            break;
        }
    }
    let error = last.unwrap_err();
    assert!(error.fault == Fault::Refused && error.to_string().contains("another version is there"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unsealed_data_lands_where_it_is_ordered_and_only_if_it_is_what_was_sealed() {
    let world = World::new().await;
    let payload = payload(LARGE);
    let (id, order) = world.order(&payload, None);
    let (named, named_order) = world.order(&payload, Some("theirs/back.car"));
    let wrong: Vec<u8> = payload.iter().map(|byte| byte ^ 1).collect();
    let error = world.depot.deliver(&named, &named_order, sent(&wrong), &world.unseals).await.unwrap_err();
    assert!(matches!(error, TakeError::WrongDigest { .. }), "{error}");
    assert!(world.s3.object("theirs/back.car").is_none());
    for (id, order) in [(&id, &order), (&named, &named_order)] {
        world.depot.deliver(id, order, sent(&payload), &world.unseals).await.unwrap();
    }
    assert!(world.s3.object("theirs/back.car").unwrap() == payload);
    let ours = of_us(&format!("unsealed/{id}"));
    let address = world.depot.unsealed(&ours).await.unwrap();
    assert!(reqwest::get(&address).await.unwrap().bytes().await.unwrap() == payload);
    world.until_swept().await;
    assert!(world.s3.object(&ours).is_some(), "a day has not passed");

    // After a day ours goes, and what a person named stays.
    let tomorrow = SystemClock.now_unix_ms() + 25 * 3_600_000;
    assert_eq!(world.unseals.expired(tomorrow), [(id, ours.clone())]);
    for (id, key) in world.unseals.expired(tomorrow) {
        world.depot.bucket.delete(&path(&key)).await.unwrap();
        world.unseals.forget_object(&id);
    }
    assert!(world.s3.object(&ours).is_none() && world.unseals.expired(tomorrow).is_empty());
    assert!(world.s3.object("theirs/back.car").is_some());
}
