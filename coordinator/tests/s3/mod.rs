//! An S3 service for tests: one bucket in memory, over HTTP, with signatures that are checked and faults on request.

mod sigv4;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

pub(crate) const BUCKET: &str = "sealing";
pub(crate) const KEY_ID: &str = "AKIDOFTHETEST";
pub(crate) const SECRET: &str = "CANARY/of+the/test";
/// The least that S3 takes as a part which is not the last.
const PART_BYTES_MIN: usize = 5 << 20;

/// What happens to a request instead of what should.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// This status, with an error of this code.
    Answer(u16, &'static str),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
}

/// A trouble of the next `times` requests of a method whose path and query hold `has`.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) method: Method,
    pub(crate) has: &'static str,
    pub(crate) times: usize,
    pub(crate) trouble: Trouble,
}

#[derive(Debug, Default)]
struct Content {
    objects: BTreeMap<String, Bytes>,
    /// By upload: the key, and the parts by number.
    uploads: BTreeMap<String, (String, BTreeMap<u32, Bytes>)>,
    begun: u32,
    faults: Vec<Fault>,
    /// Method and path of every request, and who asked.
    log: Vec<String>,
}

type Shared = Arc<Mutex<Content>>;

/// The running service.
pub(crate) struct S3 {
    pub(crate) url: String,
    content: Shared,
    tasks: host::tasks::Tasks,
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl S3 {
    pub(crate) async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn start_on(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let content = Shared::default();
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&content));
        let tasks = host::tasks::Tasks::new();
        tasks.spawn("s3", async move { Ok(axum::serve(listener, routes).await?) });
        Self { url, content, tasks }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        self.content().objects.insert(key.to_owned(), Bytes::copy_from_slice(bytes));
    }

    pub(crate) fn object(&self, key: &str) -> Option<Bytes> {
        self.content().objects.get(key).cloned()
    }

    /// The keys of all objects.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.content().objects.keys().cloned().collect()
    }

    /// The keys of uploads that are begun and not finished.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        self.content().uploads.values().map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn fault(&self, method: Method, has: &'static str, times: usize, trouble: Trouble) {
        self.content().faults.push(Fault { method, has, times, trouble });
    }

    /// How many requests there were whose line, such as `GET /bucket/key`, holds this.
    pub(crate) fn asked(&self, has: &str) -> usize {
        self.content().log.iter().filter(|line| line.contains(has)).count()
    }
}

/// An error, as S3 says it.
struct No(StatusCode, &'static str, String);

fn no(status: StatusCode, code: &'static str, message: impl Into<String>) -> No {
    No(status, code, message.into())
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let trouble = shared.lock().unwrap().trouble(&parts.method, &parts.uri);
    let answered = match trouble {
        Some(Trouble::Answer(status, code)) => Err(no(StatusCode::from_u16(status).unwrap(), code, "as the test says")),
        _ => serve(&shared, &parts, body),
    };
    let answered = answered.unwrap_or_else(|No(status, code, message)| {
        let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
        (status, text).into_response()
    });
    match trouble {
        Some(Trouble::Cut(bytes)) => cut(answered, bytes).await,
        _ => answered,
    }
}

/// The same headers, and a body that breaks off.
async fn cut(answer: Response, bytes: usize) -> Response {
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let sent = body.slice(..bytes.min(body.len()));
    // What was sent is on its way before it breaks off.
    let breaks_off = futures::stream::once(async {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut"))
    });
    let broken = futures::stream::iter([Ok(sent)]).chain(breaks_off);
    let mut answer = Response::from_parts(parts, Body::from_stream(broken));
    answer.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
    answer
}

fn serve(shared: &Shared, parts: &Parts, body: Bytes) -> Result<Response, No> {
    sigv4::check(parts, &body, KEY_ID, SECRET)
        .map_err(|why| no(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", why))?;
    let path = sigv4::decoded(parts.uri.path());
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    if bucket != BUCKET {
        return Err(no(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist"));
    }
    let query = sigv4::pairs(parts.uri.query().unwrap_or_default());
    let mut content = shared.lock().unwrap();
    let upload = query.get("uploadId");
    match (&parts.method, upload) {
        (&Method::POST, None) if query.contains_key("uploads") => Ok(content.begin(key)),
        (&Method::POST, None) if query.contains_key("delete") => Ok(content.delete(&String::from_utf8_lossy(&body))),
        (&Method::PUT, Some(id)) => content.part(id, &query["partNumber"], body),
        (&Method::POST, Some(id)) => content.complete(id, &String::from_utf8_lossy(&body)),
        (&Method::DELETE, Some(id)) => {
            content.uploads.remove(id).ok_or_else(no_upload)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        (&Method::PUT, None) => {
            let tag = tag(&body);
            content.objects.insert(key.to_owned(), body);
            Ok([(header::ETAG, tag)].into_response())
        }
        (&Method::GET | &Method::HEAD, None) => content.read(&parts.method, key, &parts.headers),
        (method, _) => Err(no(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", method.as_str())),
    }
}

fn no_upload() -> No {
    no(StatusCode::NOT_FOUND, "NoSuchUpload", "The specified upload does not exist")
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Sha256::digest(bytes)))
}

impl Content {
    fn trouble(&mut self, method: &Method, uri: &Uri) -> Option<Trouble> {
        self.log.push(format!("{method} {uri}"));
        let uri = uri.to_string();
        let fault = self.faults.iter_mut().find(|f| f.times > 0 && f.method == *method && uri.contains(f.has))?;
        fault.times -= 1;
        Some(fault.trouble)
    }

    fn begin(&mut self, key: &str) -> Response {
        self.begun += 1;
        let id = format!("upload-{}", self.begun);
        self.uploads.insert(id.clone(), (key.to_owned(), BTreeMap::new()));
        format!(
            "<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>"
        )
        .into_response()
    }

    fn part(&mut self, id: &str, number: &str, body: Bytes) -> Result<Response, No> {
        let (_, parts) = self.uploads.get_mut(id).ok_or_else(no_upload)?;
        let tag = tag(&body);
        parts.insert(number.parse().unwrap(), body);
        Ok([(header::ETAG, tag)].into_response())
    }

    fn complete(&mut self, id: &str, body: &str) -> Result<Response, No> {
        let (key, parts) = self.uploads.get(id).ok_or_else(no_upload)?;
        let tags: Vec<&str> = body.split("<ETag>").skip(1).map(|rest| rest.split_once("</ETag>").unwrap().0).collect();
        let found: Vec<String> = parts.values().map(|part| tag(part)).collect();
        if tags.iter().map(|tag| tag.replace("&quot;", "\"")).collect::<Vec<_>>() != found {
            return Err(no(
                StatusCode::BAD_REQUEST,
                "InvalidPart",
                "One or more of the specified parts could not be found",
            ));
        }
        let (last, others) = parts.values().collect::<Vec<_>>().split_last().map(|(l, o)| (*l, o.to_vec())).unwrap();
        if others.iter().any(|part| part.len() < PART_BYTES_MIN || part.len() != others[0].len()) {
            return Err(no(StatusCode::BAD_REQUEST, "EntityTooSmall", "a part that is not the last is too small"));
        }
        let whole: Vec<u8> = others.into_iter().chain([last]).flat_map(|part| part.iter().copied()).collect();
        let (tag, key) = (tag(&whole), key.clone());
        self.uploads.remove(id);
        self.objects.insert(key, whole.into());
        Ok(format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>").into_response())
    }

    fn delete(&mut self, body: &str) -> Response {
        let mut deleted = String::new();
        for key in body.split("<Key>").skip(1).map(|rest| rest.split_once("</Key>").unwrap().0) {
            self.objects.remove(key);
            deleted.push_str(&format!("<Deleted><Key>{key}</Key></Deleted>"));
        }
        format!("<DeleteResult>{deleted}</DeleteResult>").into_response()
    }

    fn read(&self, method: &Method, key: &str, headers: &HeaderMap) -> Result<Response, No> {
        let missing = || no(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.");
        let whole = self.objects.get(key).ok_or_else(missing)?;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let tag = tag(whole);
        if text(header::IF_MATCH).is_some_and(|wanted| wanted != tag) {
            return Err(no(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", "another version is there"));
        }
        let range = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let (start, end) = match range {
            None => (0, whole.len()),
            Some((start, "")) => (start.parse().unwrap(), whole.len()),
            Some((start, end)) => (start.parse().unwrap(), whole.len().min(end.parse::<usize>().unwrap() + 1)),
        };
        let common = [
            (header::ETAG, tag),
            (header::LAST_MODIFIED, "Tue, 24 Nov 2026 12:00:00 GMT".to_owned()),
            (header::CONTENT_LENGTH, (end - start).to_string()),
        ];
        let body = if *method == Method::HEAD { Body::empty() } else { Body::from(whole.slice(start..end)) };
        if range.is_none() {
            return Ok((common, body).into_response());
        }
        let content_range = format!("bytes {start}-{}/{}", end - 1, whole.len());
        Ok((StatusCode::PARTIAL_CONTENT, common, [(header::CONTENT_RANGE, content_range)], body).into_response())
    }
}
