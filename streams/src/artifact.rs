//! Large things, kept outside messages and named by them.

use std::path::{Path, PathBuf};

use async_nats::jetstream::object_store::{DeleteErrorKind, GetErrorKind, ObjectStore};
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
};

use crate::{
    error::QueueError,
    layout::ARTIFACTS_BUCKET,
    message::ArtifactRef,
    nats::{Link, Nats},
    proof::Bytes32,
};

/// How much is read at once.
const CHUNK: usize = 128 << 10;

/// The object store `ARTIFACTS`.
#[derive(Clone)]
pub struct Artifacts {
    store: Store,
}

/// Where they are kept.
#[derive(Clone)]
enum Store {
    Server(Box<ObjectStore>),
    #[cfg(feature = "model")]
    Model(crate::model::Connection),
}

impl std::fmt::Debug for Artifacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifacts").finish_non_exhaustive()
    }
}

impl Artifacts {
    /// Opens the object store, which must exist.
    pub async fn open(nats: &Nats) -> Result<Self, QueueError> {
        let stream = format!("OBJ_{ARTIFACTS_BUCKET}");
        crate::layout::stream_info(nats, &stream).await?;
        let store = match nats.link() {
            Link::Server(server) => {
                let store = server.jetstream.get_object_store(ARTIFACTS_BUCKET).await;
                let what = "open the artifacts".to_owned();
                Store::Server(Box::new(store.map_err(|e| QueueError::Client { what, source: e.into() })?))
            }
            #[cfg(feature = "model")]
            Link::Model(model) => Store::Model(model.clone()),
        };
        Ok(Self { store })
    }

    /// Stores a file under a name and returns what a message needs to say about it.
    ///
    /// The name must belong to one attempt at one piece of work: a later put replaces the bytes an earlier reference
    /// names, which its reader would find corrupt.
    pub async fn put(&self, name: &str, file: &Path) -> Result<ArtifactRef, QueueError> {
        let opened = File::open(file).await.map_err(|source| at("read", file, source))?;
        let mut reader = Hashing { file: opened, digest: Sha256::new(), bytes: 0 };
        match &self.store {
            Store::Server(store) => {
                let stored = store.put(name, &mut reader).await;
                stored.map_err(|e| QueueError::Client { what: format!("store artifact {name}"), source: e.into() })?;
            }
            #[cfg(feature = "model")]
            Store::Model(model) => {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).await.map_err(|source| at("read", file, source))?;
                model.put_object(name, bytes.into()).await?;
            }
        }
        let sha256 = Bytes32(reader.digest.finalize().into());
        Ok(ArtifactRef { name: name.to_owned(), bytes: reader.bytes, sha256 })
    }

    /// Fetches an artifact to a path: whole and with the right digest, or not at all.
    pub async fn get(&self, artifact: &ArtifactRef, to: &Path) -> Result<(), QueueError> {
        let partial = partial_path(to);
        let fetched = match self.fetch(artifact, &partial).await {
            Ok(()) => publish(&partial, to).await,
            Err(error) => Err(error),
        };
        if fetched.is_err() {
            // What is left of it is of no use, and the error above says more than a failed removal could.
            drop(tokio::fs::remove_file(&partial).await);
        }
        fetched
    }

    async fn fetch(&self, artifact: &ArtifactRef, to: &Path) -> Result<(), QueueError> {
        let ArtifactRef { name, bytes, sha256 } = artifact;
        let what = || format!("artifact {name}");
        let mut object: Box<dyn AsyncRead + Send + Unpin> = match &self.store {
            Store::Server(store) => Box::new(store.get(name).await.map_err(|error| match error.kind() {
                GetErrorKind::NotFound => QueueError::Missing { what: what() },
                _ => QueueError::Client { what: format!("fetch {}", what()), source: error.into() },
            })?),
            #[cfg(feature = "model")]
            Store::Model(model) => Box::new(std::io::Cursor::new(model.get_object(name).await?)),
        };
        let mut file = File::create(to).await.map_err(|source| at("write", to, source))?;
        let (mut digest, mut read) = (Sha256::new(), 0_u64);
        let mut buffer = vec![0; CHUNK];
        while read <= *bytes {
            let fetched = object.read(&mut buffer).await;
            let count =
                fetched.map_err(|e| QueueError::Client { what: format!("fetch {}", what()), source: e.into() })?;
            let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else { break };
            digest.update(chunk);
            read = read.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            file.write_all(chunk).await.map_err(|source| at("write", to, source))?;
        }
        let found = Bytes32(digest.finalize().into());
        if found != *sha256 {
            return Err(QueueError::Corrupt { name: name.clone(), found, expected: *sha256 });
        }
        file.sync_all().await.map_err(|source| at("write", to, source))
    }

    /// Deletes it; one that is not there is deleted already.
    pub async fn delete(&self, name: &str) -> Result<(), QueueError> {
        let store = match &self.store {
            Store::Server(store) => store,
            #[cfg(feature = "model")]
            Store::Model(model) => return model.delete_object(name).await,
        };
        match store.delete(name).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
            Err(error) => Err(QueueError::Client { what: format!("delete artifact {name}"), source: error.into() }),
        }
    }
}

/// Gives a whole file its name.
#[expect(clippy::disallowed_methods, reason = "it must be whole, not durable: after a crash it is fetched again")]
async fn publish(partial: &Path, to: &Path) -> Result<(), QueueError> {
    tokio::fs::rename(partial, to).await.map_err(|source| at("write", to, source))
}

fn at(what: &'static str, path: &Path, source: std::io::Error) -> QueueError {
    QueueError::File { what, path: path.to_owned(), source }
}

/// Beside the target, so that the rename stays within one filesystem.
fn partial_path(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", uuid::Uuid::new_v4().simple()));
    to.with_file_name(name)
}

/// A file whose digest is taken while it is read.
struct Hashing {
    file: File,
    digest: Sha256,
    bytes: u64,
}

impl AsyncRead for Hashing {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = std::pin::Pin::new(&mut self.file).poll_read(cx, buf);
        let fresh = buf.filled().get(before..).unwrap_or_default();
        self.digest.update(fresh);
        self.bytes = self.bytes.saturating_add(u64::try_from(fresh.len()).unwrap_or(u64::MAX));
        polled
    }
}
