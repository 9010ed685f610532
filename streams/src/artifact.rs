//! Large things, kept outside messages and named by them.

use std::path::Path;

use crate::{error::QueueError, message::ArtifactRef, nats::Nats};

/// The object store `ARTIFACTS`.
#[derive(Debug, Clone)]
pub struct Artifacts {}

impl Artifacts {
    /// Opens the object store, which must exist.
    pub async fn open(nats: &Nats) -> Result<Self, QueueError> {
        let _ = nats;
        todo!()
    }

    /// Stores a file under a name and returns what a message needs to say about it.
    pub async fn put(&self, name: &str, file: &Path) -> Result<ArtifactRef, QueueError> {
        let _ = (name, file);
        todo!()
    }

    /// Fetches an artifact to a path: whole and with the right digest, or not at all.
    pub async fn get(&self, artifact: &ArtifactRef, to: &Path) -> Result<(), QueueError> {
        let _ = (artifact, to);
        todo!()
    }

    /// Deletes it; one that is not there is deleted already.
    pub async fn delete(&self, name: &str) -> Result<(), QueueError> {
        let _ = name;
        todo!()
    }
}
