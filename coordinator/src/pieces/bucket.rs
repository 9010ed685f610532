//! A bucket over S3.
//!
//! What passes by itself (a lost connection, 5xx, "slow down") is tried again for a minute; what is left is an error
//! that says what was done to which object, where, and whose turn it is.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use host::exit::{CliError, Exit};
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutPayload,
    RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    multipart::{MultipartStore as _, PartId},
    path::Path,
    signer::Signer as _,
};
use reqwest::Method;

use super::config::BucketSettings;

/// A part of an upload, and how much is read at once. 10,000 parts, the most that S3 takes, hold any sector.
pub(super) const PART_BYTES: usize = 8 << 20;
const _: () = assert!(PART_BYTES * 10_000 >= 64 << 30);
/// How long one request may take: a part at 140 kB/s.
const REQUEST_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often, and for how long, a request is tried again.
const RETRIES_MAX: usize = 6;
const RETRIED_FOR: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long an address that is handed out can be used to begin reading. Whoever needs it later asks again.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);
/// Parts of an object that are read ahead.
const READ_AHEAD: usize = 2;
/// Written and read at the start, to see that it can be.
const PROBE: &str = "sealstream.txt";
const PROBE_TEXT: &[u8] = b"A Sealstream coordinator keeps pieces and unsealed data beside this object.\n";

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no such object, or no such bucket.
    Missing,
    /// The service says no, and will say no again.
    Refused,
    /// The service cannot be reached, or does not do its work.
    Away,
}

/// Something that a bucket did not do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing} at {endpoint}: {words}")]
pub(crate) struct BucketError {
    pub(crate) fault: Fault,
    doing: String,
    endpoint: String,
    words: String,
}

/// A bucket, and what stands before every key of ours.
#[derive(Debug)]
pub(crate) struct Bucket {
    s3: AmazonS3,
    name: String,
    endpoint: String,
    prefix: String,
}

impl Bucket {
    /// Nothing is asked yet.
    pub(super) fn open(settings: &BucketSettings) -> Result<Self, CliError> {
        let client = ClientOptions::new().with_timeout(REQUEST_MAX).with_connect_timeout(CONNECT_MAX);
        let backoff = BackoffConfig { init_backoff: RETRY_FIRST, max_backoff: RETRY_MAX, base: 2.0 };
        let retry = RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRIED_FOR };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key_id.0)
            .with_secret_access_key(&settings.secret_access_key.0)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(token) = &settings.session_token {
            builder = builder.with_token(&token.0);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let s3 = builder.build().map_err(|e| CliError::new(Exit::Config, "[pieces]").because(e))?;
        let endpoint =
            settings.endpoint.clone().unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", settings.region));
        Ok(Self { s3, name: settings.bucket.clone(), endpoint, prefix: settings.prefix.clone() })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The object `name` in a folder of ours.
    pub(super) fn ours(&self, folder: &str, name: &str) -> Path {
        self.below_prefix(&format!("{folder}/{name}"))
    }

    fn below_prefix(&self, name: &str) -> Path {
        // A slash in front, where the prefix is empty, is dropped. The prefix was read before, our names are plain.
        let text = format!("{}/{name}", self.prefix);
        Path::parse(&text).unwrap_or_else(|_| Path::from(text))
    }

    /// Writes an object and reads it back: credentials, bucket and permissions in one.
    pub(super) async fn probe(&self) -> Result<(), BucketError> {
        let key = self.below_prefix(PROBE);
        self.put(&key, Bytes::from_static(PROBE_TEXT)).await?;
        let found = self.get(&key).await?;
        if found == PROBE_TEXT {
            return Ok(());
        }
        let words = "what was written is not what is read".to_owned();
        Err(BucketError { fault: Fault::Refused, words, ..self.error("read", &key) })
    }

    /// Size and version of an object.
    pub(super) async fn head(&self, key: &Path) -> Result<ObjectMeta, BucketError> {
        self.s3.head(key).await.map_err(|e| self.because("look at", key, &e))
    }

    /// Whether an object is there.
    pub(super) async fn has(&self, key: &Path) -> Result<bool, BucketError> {
        match self.head(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.fault == Fault::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A small object.
    pub(super) async fn get(&self, key: &Path) -> Result<Bytes, BucketError> {
        let because = |e| self.because("read", key, &e);
        self.s3.get(key).await.map_err(because)?.bytes().await.map_err(because)
    }

    /// Stores an object at once.
    pub(super) async fn put(&self, key: &Path, bytes: Bytes) -> Result<(), BucketError> {
        let put = self.s3.put(key, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|e| self.because("write", key, &e))
    }

    /// Removes an object; one that is gone is no error to S3.
    pub(super) async fn delete(&self, key: &Path) -> Result<(), BucketError> {
        self.s3.delete(key).await.map_err(|e| self.because("remove", key, &e))
    }

    /// An address from which anybody can read an object for a while.
    pub(super) async fn signed(&self, key: &Path) -> Result<String, BucketError> {
        let url = self.s3.signed_url(Method::GET, key, SIGNED_FOR).await;
        Ok(url.map_err(|e| self.because("sign an address for", key, &e))?.into())
    }

    /// Reads an object from its beginning to its end, piecewise, so that a connection that is lost costs little; fails
    /// if another version takes its place meanwhile.
    pub(super) fn read(self: &Arc<Self>, meta: &ObjectMeta) -> impl Stream<Item = Result<Bytes, BucketError>> + use<> {
        let step = u64::try_from(PART_BYTES).unwrap_or(u64::MAX);
        let (bucket, meta) = (Arc::clone(self), meta.clone());
        let starts = stream::iter((0..meta.size).step_by(PART_BYTES));
        let ranges = starts.map(move |start| start..start.saturating_add(step).min(meta.size));
        let (key, version) = (meta.location.clone(), meta.e_tag.clone());
        ranges
            .map(move |range| Self::read_range(Arc::clone(&bucket), key.clone(), version.clone(), range))
            .buffered(READ_AHEAD)
    }

    async fn read_range(
        self: Arc<Self>,
        key: Path,
        version: Option<String>,
        range: Range<u64>,
    ) -> Result<Bytes, BucketError> {
        let wanted = range.end.saturating_sub(range.start);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), if_match: version, ..GetOptions::default() };
        let because = |e| self.because("read", &key, &e);
        let bytes = self.s3.get_opts(&key, options).await.map_err(because)?.bytes().await.map_err(because)?;
        if u64::try_from(bytes.len()).is_ok_and(|found| found == wanted) {
            return Ok(bytes);
        }
        let words = format!("{} bytes came, {wanted} were asked for", bytes.len());
        Err(BucketError { fault: Fault::Away, words, ..self.error("read", &key) })
    }

    /// Begins an upload in parts.
    pub(super) async fn begin_parts(&self, key: &Path) -> Result<String, BucketError> {
        self.s3.create_multipart(key).await.map_err(|e| self.because("begin to write", key, &e))
    }

    /// Stores one part.
    pub(super) async fn put_part(&self, key: &Path, id: &str, at: usize, part: Bytes) -> Result<PartId, BucketError> {
        let put = self.s3.put_part(key, &id.to_owned(), at, PutPayload::from_bytes(part)).await;
        put.map_err(|e| self.because("write a part of", key, &e))
    }

    /// Makes an object of the parts: only now is it there.
    pub(super) async fn complete(&self, key: &Path, id: &str, parts: Vec<PartId>) -> Result<(), BucketError> {
        let done = self.s3.complete_multipart(key, &id.to_owned(), parts).await;
        done.map(drop).map_err(|e| self.because("finish writing", key, &e))
    }

    /// Throws the parts away; an upload that is finished or gone is no error.
    pub(super) async fn abandon(&self, key: &Path, id: &str) -> Result<(), BucketError> {
        match self.s3.abort_multipart(key, &id.to_owned()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.because("stop writing", key, &error)),
        }
    }

    fn error(&self, doing: &str, key: &Path) -> BucketError {
        BucketError {
            fault: Fault::Away,
            doing: format!("{doing} s3://{}/{key}", self.name),
            endpoint: self.endpoint.clone(),
            words: String::new(),
        }
    }

    fn because(&self, doing: &str, key: &Path, error: &object_store::Error) -> BucketError {
        let (fault, words) = told(error);
        BucketError { fault, words, ..self.error(doing, key) }
    }
}

/// What the service said, without the addresses and the waiting around it.
fn told(error: &object_store::Error) -> (Fault, String) {
    let mut root: &dyn std::error::Error = error;
    while let Some(deeper) = root.source() {
        root = deeper;
    }
    let (text, root) = (error.to_string(), root.to_string());
    let status =
        text.split_once("non-2xx status code: ").map(|(_, rest)| rest.split(':').next().unwrap_or(rest).trim());
    let fault = match error {
        object_store::Error::NotFound { .. } => Fault::Missing,
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. }
        | object_store::Error::Precondition { .. }
        | object_store::Error::NotSupported { .. }
        | object_store::Error::NotImplemented { .. } => Fault::Refused,
        // Whatever a request cannot be: a wrong region, a clock that is off, a redirect to another service.
        _ if status.is_some_and(|s| s.starts_with('4') && !s.starts_with("408") && !s.starts_with("429")) => {
            Fault::Refused
        }
        _ if text.contains("redirect") => Fault::Refused,
        _ => Fault::Away,
    };
    let of = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0.trim().to_owned()).filter(|words| !words.is_empty())
    };
    let words = match (of("Code"), of("Message"), status) {
        (Some(code), Some(message), _) => format!("{code}: {message}"),
        (Some(code), None, _) => code,
        (None, _, Some(status)) => status.to_owned(),
        (None, _, None) => root,
    };
    (fault, words)
}

impl BucketError {
    /// What a person can do.
    pub(crate) fn hint(&self) -> &'static str {
        match self.fault {
            Fault::Missing => "does the bucket exist, and is the name right?",
            Fault::Refused => {
                "check pieces.region and the credentials; they need GetObject, PutObject, DeleteObject, \
                 AbortMultipartUpload and ListBucket"
            }
            Fault::Away => "is pieces.endpoint right, and does the service run?",
        }
    }
}
