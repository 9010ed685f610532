//! A file beside a lock that names the job of the lock's holder: a lock dies with its agent, the agent's child does
//! not, and whoever takes the lock next must end that child first.

use std::path::{Path, PathBuf};

use host::durable;
use serde::{Deserialize, Serialize};
use streams::message::{Text, decode, encode};

use crate::store::StoreError;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    job: PathBuf,
}

impl Text for Holder {
    const KIND: &'static str = "lock-holder";
    const VERSION: u64 = 1;
}

/// Names the job.
pub(crate) fn write(path: &Path, job: &Path) -> Result<(), StoreError> {
    let bytes =
        encode(&Holder { job: job.to_owned() }).map_err(|source| StoreError::Text { path: path.to_owned(), source })?;
    durable::write(path, &bytes).map_err(StoreError::io("write", path))
}

/// The job that was named last, if any.
pub(crate) fn read(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let Some(bytes) = durable::read(path).map_err(StoreError::io("read", path))? else { return Ok(None) };
    let holder: Holder = decode(&bytes).map_err(|source| StoreError::Text { path: path.to_owned(), source })?;
    Ok(Some(holder.job))
}
