//! Orders to read data back: a task beside the sector's life, which it does not change.

use std::sync::Arc;

use streams::{
    control::{UnsealRequest, UnsealStarted},
    error::QueueError,
    id::{Place, SectorId},
    message::{Task, UnsealOrder},
    nats::{Nats, Published},
    sector::{SectorRecord, SectorState},
    stage::Stage,
    subject::{TaskSubject, Whither},
};

use crate::{
    pieces::{BucketError, NoS3Url, Order, S3Url, Unseals},
    registry::{Registry, RegistryError},
};

/// An unseal that was not ordered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnsealError {
    #[error("sector {sector} is {state}: it has no replica yet")]
    NoReplica { sector: SectorId, state: &'static str },
    #[error("sector {0} was attached: its ticket and its data are not known, so it cannot be unsealed")]
    Attached(SectorId),
    #[error("sector {sector} has no piece {piece}: it has {count}")]
    NoPiece { sector: SectorId, piece: u64, count: usize },
    #[error("sector {0} is being unsealed already")]
    Busy(SectorId),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("note the order")]
    File(#[from] std::io::Error),
    #[error("{0}")]
    BadObject(#[from] NoS3Url),
    #[error("{0}: this coordinator has no bucket (pieces.store)")]
    NoBucket(S3Url),
    #[error("{to}: this coordinator has credentials for bucket {known} alone")]
    OtherBucket { to: S3Url, known: String },
    #[error("{0} exists already: name another key")]
    Exists(S3Url),
    #[error("look where to write")]
    Bucket(#[from] BucketError),
    #[error("publish the task")]
    Queue(#[from] QueueError),
}

/// Takes orders.
#[derive(Clone)]
pub(crate) struct Unsealing {
    pub(crate) nats: Nats,
    pub(crate) registry: Registry,
    pub(crate) unseals: Arc<Unseals>,
    /// Base URL of the listener that takes the bytes.
    pub(crate) base: String,
}

impl Unsealing {
    pub(crate) async fn order(&self, request: UnsealRequest) -> Result<UnsealStarted, UnsealError> {
        let record = self.registry.get(request.sector).await?;
        let place = replica_place(&record)?;
        let (offset_unpadded, length_unpadded, bytes) = range(&record, request.piece)?;
        let to = self.object(request.to.as_deref()).await?;
        let piece = request.piece.and_then(|index| usize::try_from(index).ok()).and_then(|i| record.pieces.get(i));
        let sha256 = piece.map(|piece| piece.payload_sha256);
        let id = self.unseals.order(&Order { sector: record.id, bytes, sha256, to })?;
        host::failpoint!("coordinator.unsealing.ordered");
        let url = format!("{}/unsealed/{id}", self.base);
        let subject = TaskSubject { whither: Whither::At(place), sector: record.id, stage: Stage::Unseal };
        let unseal = UnsealOrder { offset_unpadded, length_unpadded, payload_bytes: bytes, deliver_to: url.clone() };
        let task = Task { sector: record.id, stage: Stage::Unseal, unseal: Some(unseal) };
        match self.nats.publish_task(&subject, &task).await {
            Ok(Published::New { .. }) => {
                host::failpoint!("coordinator.unsealing.published");
                Ok(UnsealStarted { url, bytes })
            }
            Ok(Published::AlreadyQueued) => {
                self.unseals.forget(&id);
                Err(UnsealError::Busy(record.id))
            }
            Err(error) => {
                self.unseals.forget(&id);
                Err(error.into())
            }
        }
    }
}

impl Unsealing {
    /// The key that a person named, if it is free.
    async fn object(&self, to: Option<&str>) -> Result<Option<String>, UnsealError> {
        let Some(to) = to else { return Ok(None) };
        let to: S3Url = to.parse()?;
        let Some(depot) = self.unseals.depot() else { return Err(UnsealError::NoBucket(to)) };
        if to.bucket != depot.bucket() {
            return Err(UnsealError::OtherBucket { to, known: depot.bucket().to_owned() });
        }
        if depot.has(&to.key).await? {
            return Err(UnsealError::Exists(to));
        }
        Ok(Some(to.key))
    }
}

/// Where a replica can be read: the local one, or the persisted copy.
fn replica_place(record: &SectorRecord) -> Result<Place, UnsealError> {
    let no_replica = UnsealError::NoReplica { sector: record.id, state: record.state.name() };
    if record.state.attached().is_some() {
        return Err(UnsealError::Attached(record.id));
    }
    let aborted = matches!(record.state, SectorState::Aborted { .. });
    let sealed = record.state.sealed().filter(|_| !aborted).ok_or(no_replica)?;
    Ok(sealed.persisted.as_ref().map_or_else(|| sealed.at.place.clone(), |copy| copy.place.clone()))
}

/// Offset and length in unpadded bytes, and how many of them are payload.
fn range(record: &SectorRecord, piece: Option<u64>) -> Result<(u64, u64, u64), UnsealError> {
    let Some(index) = piece else {
        let all = record.proof.unpadded_size();
        return Ok((0, all, all));
    };
    let found = usize::try_from(index).ok().and_then(|index| record.pieces.get(index));
    let piece = found.ok_or(UnsealError::NoPiece { sector: record.id, piece: index, count: record.pieces.len() })?;
    let unpadded = |padded: u64| padded / 128 * 127;
    Ok((unpadded(piece.offset_padded), unpadded(piece.padded_bytes), piece.payload_bytes))
}
