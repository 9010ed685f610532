//! Piece files: `pieces/<sha256>`.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256 as Hasher};
use streams::proof::{Bytes32, Commitment, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::{bucket::BucketError, depot::Depot, upload::UploadError};

/// A payload that was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error("it is too large for a sector: more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("it is empty")]
    Empty,
    #[error("it has {found} bytes, {wanted} were announced")]
    WrongLength { found: u64, wanted: u64 },
    #[error("it has SHA-256 {found}, {wanted} was announced")]
    WrongDigest { found: Sha256, wanted: Sha256 },
    #[error("its length and SHA-256 have to be announced: this coordinator keeps pieces in a bucket")]
    Unannounced,
    #[error("the transfer broke: {0}")]
    Transfer(String),
    #[error("the bucket")]
    Bucket(#[from] BucketError),
    #[error("store it in the bucket")]
    Upload(#[from] UploadError),
    #[error("compute its commitment")]
    Commitment(#[from] prover::CommitmentError),
    #[error("{what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A payload by what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) payload_bytes: u64,
    pub(crate) payload_sha256: Sha256,
    pub(crate) padded_bytes: u64,
    pub(crate) commitment: Commitment,
}

impl Measured {
    /// Whether it is what was announced, if anything was.
    pub(super) fn check(&self, announced: Option<Sha256>) -> Result<(), TakeError> {
        match announced.filter(|announced| *announced != self.payload_sha256) {
            Some(wanted) => Err(TakeError::WrongDigest { found: self.payload_sha256, wanted }),
            None => Ok(()),
        }
    }
}

/// The folders of pieces, and the bucket where new ones go instead.
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    pieces: PathBuf,
    scratch: PathBuf,
    depot: Option<Arc<Depot>>,
}

/// A temporary file that is gone when dropped.
pub(super) struct Scratch(pub(super) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It was renamed, or nothing refers to it.
        let _gone = std::fs::remove_file(&self.0);
    }
}

impl Pieces {
    /// Makes the folders, and empties the one for transfers that a former run left unfinished.
    pub(crate) fn open(data: &Path) -> Result<Self, TakeError> {
        let (pieces, scratch) = (data.join("pieces"), data.join("tmp"));
        if scratch.exists() {
            host::durable::remove_dir_all(&scratch).map_err(file("empty", &scratch))?;
        }
        for dir in [&pieces, &scratch] {
            host::durable::create_dir_all(dir).map_err(file("create", dir))?;
        }
        Ok(Self { pieces, scratch, depot: None })
    }

    /// From now on new ones go into this bucket, if there is one.
    pub(crate) fn in_bucket(self, depot: Option<Arc<Depot>>) -> Self {
        Self { depot, ..self }
    }

    pub(super) fn depot(&self) -> Option<&Arc<Depot>> {
        self.depot.as_ref()
    }

    /// Stores a payload under its digest, which has to be the announced one.
    pub(crate) async fn store<E: std::fmt::Display>(
        &self,
        payload: impl Stream<Item = Result<Bytes, E>>,
        limit_bytes: u64,
        announced: Option<Sha256>,
    ) -> Result<Measured, TakeError> {
        let scratch = self.scratch_file();
        let measured = self.measure_into(&scratch.0, payload, limit_bytes).await?;
        measured.check(announced)?;
        host::failpoint!("coordinator.pieces.received");
        publish(scratch.0.clone(), self.path(&measured.payload_sha256)).await?;
        Ok(measured)
    }

    /// Reads a payload once, for its digest and commitment; nothing is kept.
    pub(crate) async fn measure<E: std::fmt::Display>(
        &self,
        payload: impl Stream<Item = Result<Bytes, E>>,
        limit_bytes: u64,
    ) -> Result<Measured, TakeError> {
        let scratch = self.scratch_file();
        self.measure_into(&scratch.0, payload, limit_bytes).await
    }

    /// The file of a piece.
    pub(crate) fn path(&self, digest: &Sha256) -> PathBuf {
        self.pieces.join(digest.to_string())
    }

    pub(super) fn scratch_file(&self) -> Scratch {
        Scratch(self.scratch.join(uuid::Uuid::new_v4().simple().to_string()))
    }

    async fn measure_into<E: std::fmt::Display>(
        &self,
        path: &Path,
        payload: impl Stream<Item = Result<Bytes, E>>,
        limit_bytes: u64,
    ) -> Result<Measured, TakeError> {
        let (payload_bytes, payload_sha256) = receive(path, payload, limit_bytes).await?;
        if payload_bytes == 0 {
            return Err(TakeError::Empty);
        }
        let owned = path.to_path_buf();
        let computed = tokio::task::spawn_blocking(move || {
            let reader = std::fs::File::open(&owned).map_err(file("open", &owned))?;
            Ok::<_, TakeError>(prover::piece_commitment(io::BufReader::new(reader), payload_bytes)?)
        });
        let (commitment, padded_bytes) = computed.await.map_err(|e| TakeError::Transfer(e.to_string()))??;
        Ok(Measured { payload_bytes, payload_sha256, padded_bytes, commitment })
    }
}

/// Writes a stream into a new file and syncs it: its length and digest.
pub(super) async fn receive<E: std::fmt::Display>(
    path: &Path,
    payload: impl Stream<Item = Result<Bytes, E>>,
    limit_bytes: u64,
) -> Result<(u64, Sha256), TakeError> {
    let mut out = tokio::fs::File::create_new(path).await.map_err(file("create", path))?;
    let mut hasher = Hasher::new();
    let mut length: u64 = 0;
    let mut payload = pin!(payload);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|e| TakeError::Transfer(e.to_string()))?;
        length = length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if length > limit_bytes {
            return Err(TakeError::TooLarge { limit_bytes });
        }
        hasher.update(&chunk);
        out.write_all(&chunk).await.map_err(file("write", path))?;
    }
    out.flush().await.map_err(file("write", path))?;
    out.sync_all().await.map_err(file("sync", path))?;
    Ok((length, Bytes32(hasher.finalize().into())))
}

/// Makes a synced file visible under its name.
pub(super) async fn publish(from: PathBuf, to: PathBuf) -> Result<(), TakeError> {
    let renamed =
        tokio::task::spawn_blocking(move || host::durable::rename(&from, &to).map_err(file("rename into", &to)));
    renamed.await.map_err(|e| TakeError::Transfer(e.to_string()))?
}

pub(super) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TakeError {
    let path = path.to_path_buf();
    move |source| TakeError::File { what, path, source }
}
