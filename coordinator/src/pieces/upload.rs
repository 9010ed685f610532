//! An object on its way into the bucket: it is there whole, or not at all.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use object_store::{multipart::PartId, path::Path};
use tokio::task::JoinSet;

use super::{
    bucket::{Bucket, BucketError, PART_BYTES},
    unfinished::{Begun, Unfinished},
};

/// Parts that are sent at the same time. With the one that is being filled, this is the memory that an upload takes.
const SENDING_MAX: usize = 3;

/// An upload that did not become an object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error("note the upload")]
    Note(#[source] io::Error),
    #[error("send a part: {0}")]
    Task(String),
}

/// Dropped before it is finished, it leaves nothing.
pub(super) struct Upload {
    bucket: Arc<Bucket>,
    unfinished: Arc<Unfinished>,
    key: Path,
    filling: BytesMut,
    parts: Option<Parts>,
}

/// An upload that is larger than one part.
struct Parts {
    /// Before `begun`, and so ended before it: what is sent after the parts are thrown away would stay.
    sending: JoinSet<(usize, Result<PartId, BucketError>)>,
    id: String,
    begun: Begun,
    /// How many were handed over to be sent.
    handed: usize,
    sent: Vec<(usize, PartId)>,
}

impl Upload {
    pub(super) fn new(bucket: &Arc<Bucket>, unfinished: &Arc<Unfinished>, key: Path) -> Self {
        let (bucket, unfinished) = (Arc::clone(bucket), Arc::clone(unfinished));
        Self { bucket, unfinished, key, filling: BytesMut::new(), parts: None }
    }

    /// Takes the next bytes, once there is room.
    pub(super) async fn push(&mut self, mut chunk: Bytes) -> Result<(), UploadError> {
        loop {
            let room = PART_BYTES.saturating_sub(self.filling.len());
            if chunk.len() < room {
                self.filling.extend_from_slice(&chunk);
                return Ok(());
            }
            // All parts but the last have the same size, which some services insist on.
            self.filling.extend_from_slice(&chunk.split_to(room));
            let part = std::mem::take(&mut self.filling).freeze();
            self.send(part).await?;
        }
    }

    /// Makes it an object.
    pub(super) async fn finish(mut self) -> Result<(), UploadError> {
        let last = std::mem::take(&mut self.filling).freeze();
        if self.parts.is_none() {
            return Ok(self.bucket.put(&self.key, last).await?);
        }
        if !last.is_empty() {
            self.send(last).await?;
        }
        let Some(mut parts) = self.parts.take() else { return Ok(()) };
        while !parts.sending.is_empty() {
            parts.one_sent().await?;
        }
        let Parts { id, begun, mut sent, .. } = parts;
        sent.sort_unstable_by_key(|(at, _)| *at);
        let sent = sent.into_iter().map(|(_, part)| part).collect();
        self.bucket.complete(&self.key, &id, sent).await?;
        host::failpoint!("coordinator.bucket.upload-completed");
        begun.finished();
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<(), UploadError> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => none.insert(Parts::begin(&self.bucket, &self.unfinished, &self.key).await?),
        };
        while parts.sending.len() >= SENDING_MAX {
            parts.one_sent().await?;
        }
        let (bucket, key, id, at) = (Arc::clone(&self.bucket), self.key.clone(), parts.id.clone(), parts.handed);
        parts.handed = at.saturating_add(1);
        parts.sending.spawn(async move { (at, bucket.put_part(&key, &id, at, part).await) });
        Ok(())
    }
}

impl Parts {
    async fn begin(bucket: &Bucket, unfinished: &Arc<Unfinished>, key: &Path) -> Result<Self, UploadError> {
        let id = bucket.begin_parts(key).await?;
        host::failpoint!("coordinator.bucket.upload-begun");
        let begun = unfinished.begin(bucket.name(), key.as_ref(), &id).map_err(UploadError::Note)?;
        host::failpoint!("coordinator.bucket.upload-noted");
        Ok(Self { sending: JoinSet::new(), id, begun, handed: 0, sent: Vec::new() })
    }

    async fn one_sent(&mut self) -> Result<(), UploadError> {
        match self.sending.join_next().await {
            None => Ok(()),
            Some(Ok((at, part))) => {
                self.sent.push((at, part?));
                Ok(())
            }
            Some(Err(error)) => Err(UploadError::Task(error.to_string())),
        }
    }
}
