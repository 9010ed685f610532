//! Commands on `ctl.…` subjects: core request-reply, answered by the leader, never truth.
//!
//! A request is one type with its verb and its answer; the reply on the wire is [`Reply`], so that a refusal arrives
//! as words for a person and not as a time-out.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    id::{AgentId, Epoch, MinerId, SectorId, StoreId},
    message::Text,
    proof::{Drawn, SealProof},
    sector::Piece,
    stage::Stage,
};

/// A request on `ctl.coordinator.<verb>`.
pub trait CoordinatorRequest: Text {
    /// The last token of the subject.
    const VERB: &'static str;
    /// What comes back.
    type Answer: Serialize + DeserializeOwned;
}

/// A request on `ctl.agent.<agent>.<verb>`.
pub trait AgentRequest: Text {
    /// The last token of the subject.
    const VERB: &'static str;
    /// What comes back.
    type Answer: Serialize + DeserializeOwned;
}

/// What comes back on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Reply<T> {
    /// It was done.
    Answer {
        /// The answer.
        answer: T,
    },
    /// It was refused.
    Refused {
        /// Why: a fragment that follows "error: ".
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

macro_rules! request {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)? } $verb:literal -> $answer:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }

        impl Text for $name {
            const KIND: &'static str = concat!("ctl-", $verb);
            const VERSION: u64 = 1;
        }

        impl CoordinatorRequest for $name {
            const VERB: &'static str = $verb;
            type Answer = $answer;
        }
    };
}

request! {
    /// Asked by an agent that claimed PC1, before the child starts. The coordinator records the ticket and returns
    /// it; asked again for the same generation, it returns the same one.
    TicketRequest {
        /// The sector.
        sector: SectorId,
        /// Who claims.
        agent: AgentId,
    } "ticket" -> Drawn
}

request! {
    /// What a command line needs to know before it uploads.
    InfoRequest {} "info" -> Info
}

/// The coordinator as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Info {
    /// Base URL of its HTTP listener (pieces, unsealed data).
    pub http: String,
    /// The network.
    pub network: String,
    /// Miners it manages.
    pub miners: Vec<MinerId>,
    /// Their seal proofs, in the order of `miners`: a piece has to fit such a sector.
    pub proofs: Vec<SealProof>,
    /// The chain's height.
    pub epoch: Epoch,
}

request! {
    /// Seal sectors: `count` empty ones, or as many as the pieces need.
    SubmitRequest {
        /// For this miner.
        miner: MinerId,
        /// So many CC sectors.
        count: u64,
        /// Pieces already uploaded or reachable by URL; `offset_padded` is ignored here.
        pieces: Vec<Piece>,
    } "submit" -> Submitted
}

/// What was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submitted {
    /// The new sectors.
    pub sectors: Vec<SectorId>,
}

request! {
    /// Create a storage miner on chain (power actor, method CreateMiner) and manage it.
    CreateMinerRequest {
        /// Its sectors' seal proof: the size.
        proof: SealProof,
        /// Address that pays; the configured sender when absent.
        from: Option<String>,
        /// Its owner; `from` when absent.
        owner: Option<String>,
        /// Its worker, of a BLS key; `from` when absent.
        worker: Option<String>,
        /// Multiaddress-encoded peer id, hex; may be empty.
        peer_id: String,
    } "miner-create" -> MinerCreated
}

/// A new miner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinerCreated {
    /// Its ID address.
    pub miner: MinerId,
    /// Its robust address.
    pub robust: String,
    /// The message that created it.
    pub message_cid: String,
}

request! {
    /// Read data back from a sealed sector: piece `piece`, or the whole sector when absent.
    UnsealRequest {
        /// The sector.
        sector: SectorId,
        /// Index of the piece.
        piece: Option<u64>,
        /// The object to make of it, `s3://bucket/key`; the coordinator keeps it for a day when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    } "unseal" -> UnsealStarted
}

/// An unseal that was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsealStarted {
    /// Where the bytes will be: `GET` answers 404 until they are whole.
    pub url: String,
    /// How many bytes.
    pub bytes: u64,
}

request! {
    /// Go on with a parked sector.
    RetryRequest {
        /// The sector.
        sector: SectorId,
        /// The stage to begin with; where it was parked when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Stage>,
    } "sector-retry" -> SectorNow
}

request! {
    /// Give up a sector that is not on chain.
    AbortRequest {
        /// The sector.
        sector: SectorId,
        /// Why, for the audit.
        reason: String,
    } "sector-abort" -> SectorNow
}

/// A sector after a person's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorNow {
    /// The state it is in.
    pub state: String,
}

request! {
    /// A store will not come back: what was being sealed in it is sealed anew, elsewhere.
    StoreLostRequest {
        /// The store.
        store: StoreId,
        /// Why, for the audit.
        because: String,
    } "store-lost" -> StoreNoted
}

request! {
    /// A store that was said to be lost is back: new sectors may be placed in it.
    StoreFoundRequest {
        /// The store.
        store: StoreId,
    } "store-found" -> StoreNoted
}

/// A store after a person's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreNoted {
    /// Whether the command changed anything.
    pub changed: bool,
}
