//! Taking over sectors that others sealed: what an agent asks of the coordinator.
//!
//! ```text
//!  agent                                          coordinator
//!  names in a folder ──── attach-look ──────────► what the chain has of them: CommR, deadline, partition
//!  one vanilla proof each, against that CommR
//!  a manifest in the store
//!                    ──── attach ───────────────► looks again, notes the number, creates the record
//! ```
//!
//! Either may be asked again: what is there already is said to be there.

use serde::{Deserialize, Serialize};

use crate::{
    control::CoordinatorRequest,
    id::{Epoch, Incarnation, Place, SectorId, StoreId},
    message::Text,
    proof::{Commitment, SealProof},
};

/// Sectors in one request.
pub const SECTORS_MAX: usize = 100;

/// Asked before anything is proven: which of these can be attached?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachLookRequest {
    /// The sectors, at most [`SECTORS_MAX`].
    pub sectors: Vec<SectorId>,
}

impl Text for AttachLookRequest {
    const KIND: &'static str = "ctl-attach-look";
    const VERSION: u64 = 1;
}

impl CoordinatorRequest for AttachLookRequest {
    const VERB: &'static str = "attach-look";
    type Answer = AttachLook;
}

/// What is known of sectors that others sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachLook {
    /// The life of the queue that they would belong to.
    pub incarnation: Incarnation,
    /// Each sector that was asked about, in the order of the request.
    pub sectors: Vec<LookedAt>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookedAt {
    /// The sector.
    pub sector: SectorId,
    /// Whether it can be attached.
    pub verdict: Verdict,
}

/// Whether a sector can be attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Verdict {
    /// It is proving, for a miner of this coordinator.
    Proving {
        /// The seal proof that we use for its size.
        proof: SealProof,
        /// Commitment to its replica.
        comm_r: Commitment,
        /// When it began.
        activation: Epoch,
        /// When it ends.
        expiration: Epoch,
        /// Its deadline.
        deadline: u64,
        /// Its partition within the deadline.
        partition: u64,
        /// The store in which it was attached before.
        attached_in: Option<StoreId>,
    },
    /// This cluster sealed it.
    Ours {
        /// The state of its record.
        state: String,
    },
    /// It cannot be.
    Refused {
        /// Why, for a person.
        why: String,
    },
}

/// Asked once files were proven and have a manifest: the coordinator is to count on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// The store that the folder became.
    pub store: StoreId,
    /// The place through which it is reached.
    pub place: Place,
    /// The sectors, at most [`SECTORS_MAX`].
    pub sectors: Vec<ProvenFiles>,
}

impl Text for AttachRequest {
    const KIND: &'static str = "ctl-attach";
    const VERSION: u64 = 1;
}

impl CoordinatorRequest for AttachRequest {
    const VERB: &'static str = "attach";
    type Answer = AttachDone;
}

/// A sector whose files a vanilla proof was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenFiles {
    /// The sector.
    pub sector: SectorId,
    /// The replica that they are.
    pub comm_r: Commitment,
}

/// What became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachDone {
    /// Each sector, in the order of the request.
    pub sectors: Vec<AttachedOne>,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachedOne {
    /// The sector.
    pub sector: SectorId,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a sector that was to be attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// It has a record now.
    Attached {},
    /// It had one, which says the same.
    Before {},
    /// It has none.
    Refused {
        /// Why, for a person.
        why: String,
    },
}
