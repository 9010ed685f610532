//! The stages of a sector, each from its record to its facts.

pub(crate) mod c2;
pub(crate) mod deliver;
mod download;
pub(crate) mod finalize;
pub(crate) mod on_sector;
pub(crate) mod persist;
pub(crate) mod pieces;
pub(crate) mod place;
pub(crate) mod post;
pub(crate) mod ticket;
pub(crate) mod unseal;

use streams::{
    artifact::Artifacts,
    id::{AgentId, Place},
    kv::Bucket,
    message::{Facts, FailureClass, Task},
    nats::Nats,
    records::SectorLock,
    sector::SectorRecord,
    stage::Stage,
};

use crate::{
    child::{AtWork, Prover},
    halt::Halt,
    store::Stores,
};

/// What the stages work with.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub(crate) agent: AgentId,
    pub(crate) place: Place,
    pub(crate) nats: Nats,
    pub(crate) sectors: Bucket<SectorRecord>,
    pub(crate) locks: Bucket<SectorLock>,
    pub(crate) artifacts: Artifacts,
    pub(crate) stores: Stores,
    pub(crate) prover: Prover,
    /// For pieces: gives up on a source that is silent.
    pub(crate) downloads: reqwest::Client,
    /// For unsealed data: limits an upload as a whole.
    pub(crate) uploads: reqwest::Client,
    /// Bytes of each store that are never promised.
    pub(crate) keep_free: u64,
}

/// Does one stage of a sector.
pub(crate) async fn run(tools: &Tools, at: &AtWork<'_>, task: &Task, record: &SectorRecord) -> Result<Facts, Halt> {
    match task.stage {
        Stage::Place => place::run(tools, record).await,
        Stage::AddPiece | Stage::TreeD | Stage::Pc1 | Stage::Pc2 | Stage::C1 => {
            on_sector::run(tools, at, task.stage, record).await
        }
        Stage::Finalize => finalize::run(tools, at, record).await,
        Stage::Persist => persist::run(tools, at, record).await,
        Stage::C2 => c2::run(tools, at, record).await,
        Stage::Unseal => match &task.unseal {
            Some(order) => unseal::run(tools, at, record, order).await,
            None => Err(Halt::failed(FailureClass::Abort, "bad-task", "an unseal task without its order")),
        },
    }
}
