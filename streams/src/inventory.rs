//! What stores hold, asked of the agents that have them open: what a lost queue is rebuilt from.
//!
//! Every sector's folder carries a manifest that needs no queue to be understood. An agent answers
//! `ctl.agent.<agent>.inventory` with what its stores' manifests say, page by page.

use serde::{Deserialize, Serialize};

use crate::{
    control::AgentRequest,
    id::{AgentId, Incarnation, MinerId, Place, SectorId, SectorNumber, StoreId, Timestamp},
    message::{Facts, Text},
    proof::{Commitment, Drawn, SealProof, Sha256},
    sector::Piece,
};

/// Holdings in one page of an [`Inventory`], so that it stays well under the server's `max_payload` of 1 MiB.
pub const PAGE_HOLDINGS_MAX: usize = 200;

/// Asked of an agent: what do your stores hold?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryRequest {
    /// Only what comes after this one, in the order of [`Cursor`]; everything when absent.
    pub after: Option<Cursor>,
}

impl Text for InventoryRequest {
    const KIND: &'static str = "ctl-inventory";
    const VERSION: u64 = 1;
}

impl AgentRequest for InventoryRequest {
    const VERB: &'static str = "inventory";
    type Answer = Inventory;
}

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The store.
    pub store: StoreId,
    /// The last sector told of it.
    pub sector: SectorId,
}

/// One page of what an agent's stores hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Who answers.
    pub agent: AgentId,
    /// Sectors, ordered by store and sector.
    pub holdings: Vec<Holding>,
    /// The highest number of each miner that any of its stores ever held, also of sectors that are gone.
    pub high_water: Vec<(MinerId, SectorNumber)>,
    /// Manifests that cannot be read, by path, with the reason: nobody knows what they held.
    pub unreadable: Vec<(String, String)>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<Cursor>,
}

/// One sector in one store, as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// The store.
    pub store: StoreId,
    /// The place that has it open.
    pub place: Place,
    /// Whether the store keeps finished replicas.
    pub persistent: bool,
    /// The sector.
    pub sector: SectorId,
    /// Its seal proof type.
    pub proof: SealProof,
    /// Its pieces, with their sources.
    pub pieces: Vec<Piece>,
    /// The life of the queue its last stage belonged to.
    pub incarnation: Incarnation,
    /// One ticket, one cache folder.
    pub generation: u32,
    /// The ticket its layers and its replica were made with.
    pub ticket: Option<Drawn>,
    /// What is true of the files, in the order of a sector's life.
    pub done: Vec<Facts>,
    /// Digest of the sealed file, where this is a persisted copy.
    pub sealed_sha256: Option<Sha256>,
    /// CommR on chain of a replica that others sealed, and that was proven and attached where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<Commitment>,
    /// When room was promised to it.
    pub placed_at: Timestamp,
}
