//! Against a coordinator that sends on to a bucket, and a bucket that stumbles.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use host::retry::Backoff;
use prover::piece_commitment;
use sha2::{Digest as _, Sha256};
use streams::{proof::Bytes32, sector::Piece};

use super::{Broken, fetch};

const SIGNATURE: &str = "X-Amz-Signature=CANARY";
const PAYLOAD: &[u8] = b"a piece that comes in parts is put together as it was";

/// What the bucket does to the next request.
#[derive(Clone, Copy)]
enum Turn {
    Answer(StatusCode),
    /// Says how much there is, and ends after so many bytes.
    Cut(usize),
    /// The same, of a bucket that knows no ranges.
    CutAgainFromTheStart(usize),
    Other(&'static [u8]),
    Whole,
}

struct Web {
    url: String,
    turns: Arc<Mutex<Vec<Turn>>>,
    ranges: Arc<Mutex<Vec<Option<String>>>>,
    tasks: host::tasks::Tasks,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

type Seen = (Arc<Mutex<Vec<Turn>>>, Arc<Mutex<Vec<Option<String>>>>);

async fn bucket(State((turns, ranges)): State<Seen>, headers: HeaderMap) -> Response {
    let range = headers.get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
    let start: usize = range.as_deref().map_or(0, |r| r["bytes=".len()..r.len() - 1].parse().unwrap());
    ranges.lock().unwrap().push(range.clone());
    let turn = { turns.lock().unwrap().pop().unwrap_or(Turn::Whole) };
    let (start, until) = match turn {
        Turn::Answer(status) => return status.into_response(),
        Turn::Other(bytes) => return bytes.into_response(),
        Turn::Cut(bytes) => (start, start + bytes),
        Turn::CutAgainFromTheStart(bytes) => (0, bytes),
        Turn::Whole => (start, PAYLOAD.len()),
    };
    let sent = Bytes::from_static(&PAYLOAD[start..until]);
    let breaks_off = stream::once(async move {
        // What was sent is on its way before it breaks off.
        tokio::task::yield_now().await;
        if until < PAYLOAD.len() { Err(std::io::Error::other("cut")) } else { Ok(Bytes::new()) }
    });
    let body = Body::from_stream(stream::iter([Ok(sent)]).chain(breaks_off));
    let length = (header::CONTENT_LENGTH, (PAYLOAD.len() - start).to_string());
    if start == 0 {
        return ([length], body).into_response();
    }
    let range = format!("bytes {start}-{}/{}", PAYLOAD.len() - 1, PAYLOAD.len());
    (StatusCode::PARTIAL_CONTENT, [length, (header::CONTENT_RANGE, range)], body).into_response()
}

impl Web {
    /// The turns in the order in which they come.
    async fn start(turns: &[Turn]) -> Self {
        let turns = Arc::new(Mutex::new(turns.iter().rev().copied().collect::<Vec<_>>()));
        let ranges = Arc::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let address = format!("{url}/bucket/pieces/1?{SIGNATURE}");
        let send_on = move || async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, address)]) };
        let routes = Router::new()
            .route("/bucket/pieces/1", get(bucket))
            .with_state((Arc::clone(&turns), Arc::clone(&ranges)))
            .route("/pieces/1", get(send_on));
        let tasks = host::tasks::Tasks::new();
        tasks.spawn("web", async move { Ok(axum::serve(listener, routes).await?) });
        Self { url, turns, ranges, tasks }
    }

    fn piece(&self) -> Piece {
        let payload_bytes = u64::try_from(PAYLOAD.len()).unwrap();
        let (commitment, padded_bytes) = piece_commitment(PAYLOAD, payload_bytes).unwrap();
        let url = format!("{}/pieces/1", self.url);
        let payload_sha256 = Bytes32(Sha256::digest(PAYLOAD).into());
        let name = "a.car".to_owned();
        Piece { name, url, payload_bytes, payload_sha256, padded_bytes, offset_padded: 0, commitment }
    }

    /// The fetched bytes, or the whole error; nothing else may be left under the piece's name.
    async fn fetched(&self, piece: &Piece) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let retries = Backoff::new(Duration::from_millis(1), Duration::from_millis(2)).tries(3);
        match fetch(&reqwest::Client::new(), piece, &path, &retries).await {
            Ok(()) => Ok(std::fs::read(&path).unwrap()),
            Err(Broken::ForNow(error) | Broken::ForGood(error)) => {
                assert!(!path.exists(), "{error:#}");
                Err(format!("{error:#}"))
            }
        }
    }
}

#[tokio::test]
async fn a_piece_is_fetched_from_where_its_address_leads() {
    let web = Web::start(&[]).await;
    assert_eq!(web.fetched(&web.piece()).await.unwrap(), PAYLOAD);
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_stopped() {
    let web =
        Web::start(&[Turn::Cut(7), Turn::Answer(StatusCode::SERVICE_UNAVAILABLE), Turn::Cut(5), Turn::Whole]).await;
    assert_eq!(web.fetched(&web.piece()).await.unwrap(), PAYLOAD);
    let from = |start: &str| Some(format!("bytes={start}-"));
    assert_eq!(*web.ranges.lock().unwrap(), [None, from("7"), from("7"), from("12")]);
    let web = Web::start(&[Turn::Cut(7), Turn::CutAgainFromTheStart(20), Turn::Whole]).await;
    assert_eq!(web.fetched(&web.piece()).await.unwrap(), PAYLOAD);
    assert_eq!(*web.ranges.lock().unwrap(), [None, from("7"), from("20")]);
}

#[tokio::test]
async fn what_does_not_pass_is_named_and_no_signature_is_told() {
    let forever = |turn| [turn; 9];
    for (turns, words) in [
        (forever(Turn::Answer(StatusCode::INTERNAL_SERVER_ERROR)), "answers 500"),
        (forever(Turn::Answer(StatusCode::FORBIDDEN)), "answers 403"),
        (forever(Turn::CutAgainFromTheStart(7)), "error decoding response body"),
        (forever(Turn::Other(b"too short")), "has 9 bytes, and the record says 53"),
    ] {
        let web = Web::start(&turns).await;
        let error = web.fetched(&web.piece()).await.unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
        assert!(error.contains("/pieces/1 (at ") && !error.contains("CANARY"), "{error}");
        // What will not change is asked for once.
        let asked = 9 - web.turns.lock().unwrap().len();
        assert_eq!(asked, if words.contains("500") || words.contains("body") { 4 } else { 1 }, "{error}");
    }
}

#[tokio::test]
async fn other_bytes_of_the_same_length_are_no_piece() {
    let web = Web::start(&[Turn::Other(&[b'x'; PAYLOAD.len()])]).await;
    let error = web.fetched(&web.piece()).await.unwrap_err();
    assert!(error.contains("SHA-256") && error.contains("the record says"), "{error}");
    let nobody = Piece { url: "http://127.0.0.1:1/pieces/1".to_owned(), ..web.piece() };
    let error = web.fetched(&nobody).await.unwrap_err();
    assert!(error.contains("http://127.0.0.1:1/pieces/1") && error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_source_that_is_away_is_told_from_one_that_lacks_the_piece() {
    let tries = Backoff::new(Duration::from_millis(1), Duration::from_millis(1)).tries(1);
    let away = StatusCode::SERVICE_UNAVAILABLE;
    for (answers, passes) in [(away, true), (StatusCode::NOT_FOUND, false)] {
        let web = Web::start(&[Turn::Answer(answers), Turn::Answer(answers)]).await;
        let dir = tempfile::tempdir().unwrap();
        let broken = fetch(&reqwest::Client::new(), &web.piece(), &dir.path().join("0"), &tries).await.unwrap_err();
        assert_eq!(matches!(broken, Broken::ForNow(_)), passes, "{answers}: {broken:?}");
    }
}
