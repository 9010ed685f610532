//! New sectors: pieces are packed, numbers given, records created, first tasks published.

use std::sync::Arc;

use streams::{
    control::{SubmitRequest, Submitted},
    id::{Incarnation, MinerId},
    kv::CasError,
    sector::{Piece, SectorRecord},
};

use crate::{
    driver::Driver,
    miners::Miners,
    numbers::{NumberError, Numbers},
    packing::{TooLarge, pack},
};

/// How many sectors one command may submit.
const SECTORS_MAX: usize = 10_000;

/// A submission that was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    #[error("miner {miner} is not one of this coordinator's")]
    UnknownMiner { miner: MinerId, known: Vec<MinerId> },
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("{0}")]
    BadPiece(String),
    #[error("{wanted} sectors at once, the limit is {SECTORS_MAX}")]
    TooMany { wanted: u64 },
    #[error("give sector numbers")]
    Numbers(#[from] NumberError),
    #[error("create the record")]
    Create(#[from] CasError),
}

impl SubmitError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownMiner { known, .. } if known.is_empty() => {
                Some("it has none yet: `coordinator miner create`, or name one in coordinator.toml".to_owned())
            }
            Self::UnknownMiner { known, .. } => {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                Some(format!("it seals for {}", known.join(", ")))
            }
            Self::TooLarge(_) => Some("split it, or use a miner with larger sectors".to_owned()),
            Self::TooMany { .. } => Some("submit them in parts".to_owned()),
            Self::BadPiece(_) | Self::Numbers(_) | Self::Create(_) => None,
        }
    }
}

/// Takes submissions.
#[derive(Clone)]
pub(crate) struct Submission {
    pub(crate) driver: Driver,
    pub(crate) numbers: Numbers,
    pub(crate) miners: Arc<Miners>,
    /// The life of the queue that new sectors belong to.
    pub(crate) incarnation: Incarnation,
}

impl Submission {
    pub(crate) async fn submit(&self, request: SubmitRequest) -> Result<Submitted, SubmitError> {
        let miner = self.miners.get(request.miner).ok_or_else(|| SubmitError::UnknownMiner {
            miner: request.miner,
            known: self.miners.all().iter().map(|miner| miner.id).collect(),
        })?;
        let too_many = SubmitError::TooMany { wanted: request.count };
        let empty = usize::try_from(request.count).ok().filter(|n| *n <= SECTORS_MAX).ok_or(too_many)?;
        for piece in &request.pieces {
            check(piece)?;
        }
        let mut contents = pack(request.pieces, miner.proof)?;
        contents.extend(std::iter::repeat_n(Vec::new(), empty));
        let now = self.driver.registry().now();
        let ids = self.numbers.give(miner.id, contents.len(), now).await?;
        let mut sectors = Vec::with_capacity(ids.len());
        for (id, pieces) in ids.into_iter().zip(contents) {
            let mut record = SectorRecord::new(id, self.incarnation, miner.proof, pieces, now);
            "submitted".clone_into(&mut record.what);
            self.driver.registry().create(&record).await?;
            tracing::info!(sector = %id, pieces = record.pieces.len(), "submitted");
            self.driver.begin(&record).await;
            sectors.push(id);
        }
        Ok(Submitted { sectors })
    }
}

/// What every later stage relies on.
fn check(piece: &Piece) -> Result<(), SubmitError> {
    let bad = |why: &str| Err(SubmitError::BadPiece(format!("piece {}: {why}", piece.name)));
    if !piece.padded_bytes.is_power_of_two() || piece.padded_bytes < 128 {
        return bad("its padded size is not a power of two of at least 128");
    }
    if piece.payload_bytes == 0 {
        return bad("it is empty");
    }
    if piece.payload_bytes > piece.padded_bytes / 128 * 127 {
        return bad("its payload is larger than its padded size allows");
    }
    if !(piece.url.starts_with("http://") || piece.url.starts_with("https://")) {
        return bad("its URL is neither http nor https");
    }
    Ok(())
}
