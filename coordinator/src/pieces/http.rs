//! The HTTP listener.
//!
//! ```text
//! PUT  /pieces?limit=N&sha256=D  upload a payload     → Stored
//! POST /pieces/read              read a URL once      → Stored; an http URL stays where it is fetched from
//! GET  /pieces/<sha256>          fetch a payload, or be sent to where it can be
//! PUT  /unsealed/<id>            deliver unsealed data
//! GET  /unsealed/<id>            fetch it, or be sent: 404 until it is whole, 502 when it will not come
//! GET  /metrics                  what this coordinator knows of itself, for Prometheus
//! ```

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path as UrlPath, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use futures::TryStreamExt as _;
use host::exit::{CliError, Exit};
use serde::{Deserialize, Serialize};
use streams::proof::{Commitment, SealProof, Sha256};
use tokio::net::TcpListener;
use tokio_util::{io::ReaderStream, sync::CancellationToken};

use crate::status::Status;

use super::{
    address::{S3Url, SCHEME},
    bucket::{BucketError, Fault},
    store::{Measured, Pieces, TakeError, publish, receive},
    unseals::{Delivery, Unseals},
    upload::UploadError,
};

/// How long a URL may be silent while it is read.
const READ_SILENCE: Duration = Duration::from_secs(60);

/// What an upload answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) url: String,
    pub(crate) payload_bytes: u64,
    pub(crate) payload_sha256: Sha256,
    pub(crate) padded_bytes: u64,
    pub(crate) commitment: Commitment,
}

impl Stored {
    fn new(url: String, measured: Measured) -> Self {
        let Measured { payload_bytes, payload_sha256, padded_bytes, commitment } = measured;
        Self { url, payload_bytes, payload_sha256, padded_bytes, commitment }
    }
}

/// What a refused request answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    pub(crate) error: String,
}

/// Body of `POST /pieces/read`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    pub(crate) url: String,
    pub(crate) limit: u64,
}

struct Shared {
    pieces: Pieces,
    unseals: Arc<Unseals>,
    base: String,
    web: reqwest::Client,
}

impl Shared {
    fn piece_url(&self, piece: &Measured) -> String {
        format!("{}/pieces/{}", self.base, piece.payload_sha256)
    }
}

/// The listener, bound and not yet serving.
pub(crate) struct Listener {
    listener: TcpListener,
    base: String,
    pieces: Pieces,
    unseals: Arc<Unseals>,
}

impl Listener {
    /// Takes the port, so that one in use is told before anything else starts.
    pub(crate) async fn bind(
        listen: SocketAddr,
        advertise: Option<&str>,
        pieces: Pieces,
        unseals: Arc<Unseals>,
    ) -> Result<Self, CliError> {
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let hint = "stop what uses the port, or set http.listen to another";
            CliError::new(Exit::Unavailable, format!("http.listen = \"{listen}\": cannot listen there"))
                .because(error)
                .hint(hint)
        })?;
        let bound =
            listener.local_addr().map_err(|e| CliError::new(Exit::Io, "read the listener's address").because(e))?;
        if bound.ip().is_unspecified() && advertise.is_none() {
            return Err(CliError::new(
                Exit::Config,
                format!("http.listen = \"{listen}\" has no address that agents could use"),
            )
            .hint("set http.advertise to the base URL they should use, for example http://coordinator:7410"));
        }
        let base = advertise.map_or_else(|| format!("http://{bound}"), |url| url.trim_end_matches('/').to_owned());
        Ok(Self { listener, base, pieces, unseals })
    }

    /// The base URL that others use.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Serves until told to stop.
    pub(crate) async fn serve(self, cancel: CancellationToken, status: Arc<Status>) -> anyhow::Result<()> {
        let web = reqwest::Client::builder().read_timeout(READ_SILENCE).build()?;
        let Self { listener, base, pieces, unseals } = self;
        let shared = Arc::new(Shared { pieces, unseals, base, web });
        let routes = Router::new()
            .route("/pieces", put(upload))
            .route("/pieces/read", post(read_url))
            .route("/pieces/{digest}", get(fetch_piece))
            .route("/unsealed/{id}", put(deliver).get(fetch_unsealed))
            .with_state(shared)
            .route("/metrics", get(metrics).with_state(status));
        axum::serve(listener, routes).with_graceful_shutdown(cancel.cancelled_owned()).await?;
        Ok(())
    }
}

async fn metrics(State(status): State<Arc<Status>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], status.metrics()).into_response()
}

fn refuse(status: StatusCode, error: impl std::fmt::Display) -> Response {
    (status, Json(Refusal { error: error.to_string() })).into_response()
}

fn not_taken(error: &TakeError) -> Response {
    let status = match error {
        TakeError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        TakeError::Empty
        | TakeError::WrongLength { .. }
        | TakeError::WrongDigest { .. }
        | TakeError::Unannounced
        | TakeError::Transfer(_) => StatusCode::BAD_REQUEST,
        TakeError::Bucket(error) | TakeError::Upload(UploadError::Bucket(error)) => return not_in_bucket(error),
        TakeError::Commitment(_) | TakeError::File { .. } | TakeError::Upload(_) => {
            tracing::error!("take a payload: {}", host::exit::chain(error));
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    refuse(status, host::exit::chain(error))
}

fn not_in_bucket(error: &BucketError) -> Response {
    let status = match error.fault {
        Fault::Missing => StatusCode::NOT_FOUND,
        Fault::Refused => StatusCode::BAD_GATEWAY,
        Fault::Away => StatusCode::SERVICE_UNAVAILABLE,
    };
    if error.fault != Fault::Missing {
        tracing::warn!(hint = error.hint(), "{error}");
    }
    refuse(status, error)
}

/// To be asked for anew each time: the address holds for minutes.
fn send_to(address: String) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, address), (header::CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}

/// No piece is larger than the largest sector, whatever the request says.
fn limit_of(asked: Option<u64>) -> u64 {
    asked.unwrap_or(u64::MAX).min(SealProof::Drg64GiBV1_1.unpadded_size())
}

/// What stands behind the question mark.
fn asked<T: std::str::FromStr>(query: Option<&str>, name: &str) -> Option<T> {
    let said = query?.split('&').filter_map(|pair| pair.split_once('='));
    said.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}

async fn upload(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let limit_bytes = limit_of(asked(query.as_deref(), "limit"));
    let sha256 = asked::<Sha256>(query.as_deref(), "sha256");
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit_bytes) {
        return not_taken(&TakeError::TooLarge { limit_bytes });
    }
    let payload = body.into_data_stream();
    let taken = match (shared.pieces.depot(), announced.zip(sha256)) {
        (None, _) => shared.pieces.store(payload, limit_bytes, sha256).await,
        (Some(depot), Some((bytes, sha256))) => depot.store(payload, bytes, sha256).await,
        (Some(_), None) => Err(TakeError::Unannounced),
    };
    match taken {
        Ok(measured) => Json(Stored::new(shared.piece_url(&measured), measured)).into_response(),
        Err(error) => not_taken(&error),
    }
}

async fn read_url(State(shared): State<Arc<Shared>>, Json(request): Json<Read>) -> Response {
    if request.url.starts_with(SCHEME) {
        return read_object(&shared, &request).await;
    }
    if !(request.url.starts_with("http://") || request.url.starts_with("https://")) {
        return refuse(StatusCode::BAD_REQUEST, "only http, https and s3 URLs can be read");
    }
    let answer = match shared.web.get(&request.url).send().await.and_then(reqwest::Response::error_for_status) {
        Ok(answer) => answer,
        Err(error) => return refuse(StatusCode::BAD_GATEWAY, host::exit::chain(&error)),
    };
    match shared.pieces.measure(answer.bytes_stream(), limit_of(Some(request.limit))).await {
        Ok(measured) => Json(Stored::new(request.url, measured)).into_response(),
        Err(error) => not_taken(&error),
    }
}

/// An object stays where it is too, but is fetched by way of this coordinator, which has the credentials.
async fn read_object(shared: &Shared, request: &Read) -> Response {
    let url = match request.url.parse::<S3Url>() {
        Ok(url) => url,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, why),
    };
    let Some(depot) = shared.pieces.depot() else {
        return refuse(StatusCode::BAD_REQUEST, "this coordinator has no bucket: set pieces.store");
    };
    if url.bucket != depot.bucket() {
        let words = format!("this coordinator has credentials for bucket {}, not for {}", depot.bucket(), url.bucket);
        return refuse(StatusCode::BAD_REQUEST, words);
    }
    match depot.refer(&url, limit_of(Some(request.limit))).await {
        Ok(measured) => Json(Stored::new(shared.piece_url(&measured), measured)).into_response(),
        Err(error) => not_taken(&error),
    }
}

async fn fetch_piece(State(shared): State<Arc<Shared>>, UrlPath(digest): UrlPath<String>) -> Response {
    let Ok(digest) = digest.parse::<Sha256>() else {
        return refuse(StatusCode::NOT_FOUND, "a piece is named by the SHA-256 of its payload");
    };
    let file = shared.pieces.path(&digest);
    // What was uploaded before there was a bucket stays a file.
    let (false, Some(depot)) = (file.exists(), shared.pieces.depot()) else { return send_file(&file).await };
    match depot.locate(&digest).await {
        Ok(Some(address)) => send_to(address),
        Ok(None) => {
            let words = format!("neither the data folder nor bucket {} has this piece", depot.bucket());
            refuse(StatusCode::NOT_FOUND, words)
        }
        Err(error) => not_in_bucket(&error),
    }
}

async fn deliver(State(shared): State<Arc<Shared>>, UrlPath(id): UrlPath<String>, body: Body) -> Response {
    let order = match shared.unseals.look(&id) {
        Delivery::Awaited(order) => order,
        Delivery::There(_) | Delivery::InBucket(_) => return StatusCode::OK.into_response(),
        Delivery::Unknown | Delivery::Failed(_) => return refuse(StatusCode::NOT_FOUND, "nobody waits for this"),
    };
    let taken = match shared.unseals.depot() {
        Some(depot) => depot.deliver(&id, &order, body.into_data_stream(), &shared.unseals).await,
        None if order.to.is_some() => return refuse(StatusCode::CONFLICT, "it is for a bucket, and there is none now"),
        None => take_delivery(&shared, body, order.bytes, shared.unseals.path(&id)).await,
    };
    match taken {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(error) => not_taken(&error),
    }
}

async fn take_delivery(shared: &Shared, body: Body, wanted: u64, to: PathBuf) -> Result<(), TakeError> {
    let scratch = shared.pieces.scratch_file();
    let (found, _) = receive(&scratch.0, body.into_data_stream(), wanted).await?;
    if found != wanted {
        return Err(TakeError::WrongLength { found, wanted });
    }
    publish(scratch.0.clone(), to).await
}

async fn fetch_unsealed(State(shared): State<Arc<Shared>>, UrlPath(id): UrlPath<String>) -> Response {
    match shared.unseals.look(&id) {
        Delivery::There(path) => send_file(&path).await,
        Delivery::InBucket(key) => match shared.unseals.depot() {
            Some(depot) => depot.unsealed(&key).await.map_or_else(|error| not_in_bucket(&error), send_to),
            None => refuse(StatusCode::GONE, "it is in a bucket, and there is none now"),
        },
        Delivery::Awaited(_) => refuse(StatusCode::NOT_FOUND, "it is not whole yet"),
        Delivery::Failed(words) => refuse(StatusCode::BAD_GATEWAY, words),
        Delivery::Unknown => refuse(StatusCode::GONE, "nobody ordered this, or it is too long ago"),
    }
}

async fn send_file(path: &Path) -> Response {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return refuse(StatusCode::NOT_FOUND, "there is no such file");
        }
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, error),
    };
    let length = match file.metadata().await {
        Ok(metadata) => metadata.len(),
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, error),
    };
    let headers =
        [(header::CONTENT_LENGTH, length.to_string()), (header::CONTENT_TYPE, "application/octet-stream".to_owned())];
    let body = Body::from_stream(
        ReaderStream::with_capacity(file, 256 << 10).inspect_err(|e| tracing::warn!("send a file: {e}")),
    );
    (headers, body).into_response()
}
