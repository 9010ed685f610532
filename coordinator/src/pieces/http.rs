//! The HTTP listener.
//!
//! ```text
//! PUT  /pieces?limit=N     upload a payload           → Stored
//! POST /pieces/read        read a URL once            → Stored, with that URL
//! GET  /pieces/<sha256>    fetch a payload
//! PUT  /unsealed/<id>      deliver unsealed data
//! GET  /unsealed/<id>      fetch it: 404 until it is whole, 502 when it will not come
//! GET  /metrics            what this coordinator knows of itself, for Prometheus
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
    store::{Measured, Pieces, TakeError, publish, receive},
    unseals::{Delivery, Unseals},
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
        let shared = Arc::new(Shared { pieces: self.pieces, unseals: self.unseals, base: self.base, web });
        let routes = Router::new()
            .route("/pieces", put(upload))
            .route("/pieces/read", post(read_url))
            .route("/pieces/{digest}", get(fetch_piece))
            .route("/unsealed/{id}", put(deliver).get(fetch_unsealed))
            .with_state(shared)
            .route("/metrics", get(metrics).with_state(status));
        axum::serve(self.listener, routes).with_graceful_shutdown(cancel.cancelled_owned()).await?;
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
        TakeError::Empty | TakeError::WrongLength { .. } | TakeError::Transfer(_) => StatusCode::BAD_REQUEST,
        TakeError::Commitment(_) | TakeError::File { .. } => {
            tracing::error!("take a payload: {}", host::exit::chain(error));
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    refuse(status, host::exit::chain(error))
}

/// No piece is larger than the largest sector, whatever the request says.
fn limit_of(asked: Option<u64>) -> u64 {
    asked.unwrap_or(u64::MAX).min(SealProof::Drg64GiBV1_1.unpadded_size())
}

async fn upload(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let asked = query.as_deref().and_then(|query| query.strip_prefix("limit=")).and_then(|limit| limit.parse().ok());
    let limit_bytes = limit_of(asked);
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit_bytes) {
        return not_taken(&TakeError::TooLarge { limit_bytes });
    }
    match shared.pieces.store(body.into_data_stream(), limit_bytes).await {
        Ok(measured) => {
            let url = format!("{}/pieces/{}", shared.base, measured.payload_sha256);
            Json(Stored::new(url, measured)).into_response()
        }
        Err(error) => not_taken(&error),
    }
}

async fn read_url(State(shared): State<Arc<Shared>>, Json(request): Json<Read>) -> Response {
    if !(request.url.starts_with("http://") || request.url.starts_with("https://")) {
        return refuse(StatusCode::BAD_REQUEST, "only http and https URLs can be read");
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

async fn fetch_piece(State(shared): State<Arc<Shared>>, UrlPath(digest): UrlPath<String>) -> Response {
    match digest.parse::<Sha256>() {
        Ok(digest) => send_file(&shared.pieces.path(&digest)).await,
        Err(_) => refuse(StatusCode::NOT_FOUND, "a piece is named by the SHA-256 of its payload"),
    }
}

async fn deliver(State(shared): State<Arc<Shared>>, UrlPath(id): UrlPath<String>, body: Body) -> Response {
    let wanted = match shared.unseals.look(&id) {
        Delivery::Awaited { bytes } => bytes,
        Delivery::There(_) => return StatusCode::OK.into_response(),
        Delivery::Unknown | Delivery::Failed(_) => return refuse(StatusCode::NOT_FOUND, "nobody waits for this"),
    };
    match take_delivery(&shared, body, wanted, shared.unseals.path(&id)).await {
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
        Delivery::Awaited { .. } => refuse(StatusCode::NOT_FOUND, "it is not whole yet"),
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
