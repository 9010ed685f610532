//! Values under keys: claims, agents, stores, the chain as last seen, the outbox, PoSt proofs, leases.

mod store;

use serde::{Deserialize, Serialize};

use crate::{
    duty::Duty,
    id::{AgentId, Epoch, Incarnation, MinerId, Place, SectorId, SectorNumber, Timestamp},
    message::Text,
    proof::{Bytes32, ProofBytes},
    sector::MessageRef,
    stage::{Class, Stage},
};

pub use self::store::{StoreRecord, StoreState};

/// Bucket `CLAIMS`, key `<miner>.<sector>.<stage>`: who works on a stage. The key's revision is the fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The holder.
    pub agent: AgentId,
    /// The holder's run: a restarted agent has another one.
    pub run: uuid::Uuid,
    /// 1 for the first try of this stage.
    pub attempt: u32,
    /// The sector's generation when claimed.
    pub generation: u32,
    /// The record's incarnation when claimed.
    pub incarnation: Incarnation,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When the holder last said that it is at work; older than [`CLAIM_STALE_MS`] another may take over.
    /// Zero once the holder has let go: then anybody may take it at once, with the next attempt.
    pub beat_at: Timestamp,
}

/// A claim not refreshed for this long is free to take: `ack_wait` (60 s).
pub const CLAIM_STALE_MS: u64 = 60_000;

impl Text for Claim {
    const KIND: &'static str = "claim";
    const VERSION: u64 = 1;
}

/// Bucket `NUMBERS`, key `<miner>.<number>`, created only: a number is given once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberGiven {
    /// When.
    pub at: Timestamp,
}

impl Text for NumberGiven {
    const KIND: &'static str = "number-given";
    const VERSION: u64 = 1;
}

/// Bucket `AGENTS`, key `<agent>`, TTL 60 s: a heartbeat, and what the agent is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRecord {
    /// Its name.
    pub agent: AgentId,
    /// Its place.
    pub place: Place,
    /// The host it runs on.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Its run: a restart changes it.
    pub run: uuid::Uuid,
    /// Sealstream's version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// This heartbeat.
    pub at: Timestamp,
    /// Classes with their slots.
    pub classes: Vec<ClassSlots>,
    /// Work at hand.
    pub jobs: Vec<JobNow>,
    /// What it does about work.
    #[serde(default, skip_serializing_if = "Duty::is_serving")]
    pub duty: Duty,
}

impl Text for AgentRecord {
    const KIND: &'static str = "agent";
    const VERSION: u64 = 1;
}

/// Slots of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSlots {
    /// The class.
    pub class: Class,
    /// How many tasks it may run at once.
    pub slots: u32,
    /// How many it runs now.
    pub used: u32,
}

/// A job that is running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobNow {
    /// What it works on: a stage of a sector, or a partition.
    pub what: JobSubject,
    /// Which attempt.
    pub attempt: u32,
    /// Since when.
    pub started_at: Timestamp,
    /// What it is doing, from the prover's progress file: `layer 3 of 11`.
    pub phase: String,
    /// How far, in thousandths, where that is known.
    pub permille: Option<u16>,
    /// The bytes of that, where it is bytes that are worked through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<BytesDone>,
    /// Bytes a second of late, once there were enough to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
    /// How long it will still take, by jobs like it and by its own rate, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
}

impl JobNow {
    /// One that has just begun.
    #[must_use]
    pub const fn begun(what: JobSubject, attempt: u32, started_at: Timestamp, phase: String) -> Self {
        Self { what, attempt, started_at, phase, permille: None, bytes: None, bytes_per_s: None, left_ms: None }
    }
}

/// How far a job is in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BytesDone {
    /// Worked through.
    pub done: u64,
    /// In all.
    pub total: u64,
}

/// What a job works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum JobSubject {
    /// A stage of a sector.
    Sector {
        /// The sector.
        sector: SectorId,
        /// The stage.
        stage: Stage,
    },
    /// One half of a window PoSt.
    Partition {
        /// The class: `post-io` or `post-gpu`.
        class: Class,
        /// The miner.
        miner: MinerId,
        /// The epoch the deadline opens at.
        open: Epoch,
        /// The partition.
        partition: u64,
    },
}

/// Bucket `CHAIN`, key `head`: the heaviest tipset as the follower last saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainHead {
    /// Its height.
    pub epoch: Epoch,
    /// Its key: CIDs of its blocks.
    pub tipset: Vec<String>,
    /// Seconds between epochs, from `StateGetNetworkParams`.
    pub block_delay_secs: u64,
    /// The network's name.
    pub network: String,
    /// When the follower wrote this.
    pub at: Timestamp,
}

impl Text for ChainHead {
    const KIND: &'static str = "chain-head";
    const VERSION: u64 = 1;
}

/// Bucket `CHAIN`, key `deadline.<miner>`: the miner's current deadline (`StateMinerProvingDeadline`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadlineNow {
    /// The miner.
    pub miner: MinerId,
    /// The epoch this was read at.
    pub epoch: Epoch,
    /// First epoch of the proving period; may lie in the future for a new miner.
    pub period_start: Epoch,
    /// Index of the next deadline that has not elapsed.
    pub index: u64,
    /// First epoch in which a PoSt for it counts.
    pub open: Epoch,
    /// First epoch in which it no longer does.
    pub close: Epoch,
    /// The epoch whose beacon gives the challenge; before `open`.
    pub challenge: Epoch,
    /// From here on faults and recoveries for it count only next time.
    pub fault_cutoff: Epoch,
    /// Deadlines in a period: 48 on mainnet.
    pub period_deadlines: u64,
    /// Epochs in a period: 2,880 on mainnet.
    pub proving_period: Epoch,
    /// Epochs in a window: 60 on mainnet.
    pub challenge_window: Epoch,
    /// Epochs from challenge to open: 20 on mainnet.
    pub challenge_lookback: Epoch,
}

impl Text for DeadlineNow {
    const KIND: &'static str = "deadline";
    const VERSION: u64 = 1;
}

/// Bucket `MESSAGES`, key `<sender>.<nonce>`, created only, then amended by compare-and-set: the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxEntry {
    /// Sender and nonce: the key.
    pub message: MessageRef,
    /// What it does, for people: the method's name.
    pub method: String,
    /// The miner it is about.
    pub miner: MinerId,
    /// The sectors it carries.
    pub sectors: Vec<SectorNumber>,
    /// Signed bytes (CBOR of `SignedMessage`), oldest first: the last one is the one being pushed.
    pub signed: Vec<Signed>,
    /// When it was created.
    pub created_at: Timestamp,
    /// What became of it.
    pub fate: Fate,
}

impl Text for OutboxEntry {
    const KIND: &'static str = "outbox-entry";
    const VERSION: u64 = 1;
}

/// A signed message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Its CID as the chain names it.
    pub cid: String,
    /// CBOR of the signed message.
    pub bytes: ProofBytes,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Fate {
    /// Its bytes are stored; whether any node has them is not known.
    Journaled {},
    /// A node accepted it.
    Pushed {
        /// When.
        at: Timestamp,
    },
    /// It is in a tipset.
    Landed {
        /// Which of the signed CIDs.
        cid: String,
        /// The tipset's height.
        height: Epoch,
        /// The receipt's exit code.
        exit_code: u32,
        /// The receipt's return value.
        return_value: ProofBytes,
        /// Gas used.
        gas_used: i64,
        /// When this was seen.
        at: Timestamp,
        /// Whether it is as deep as the configured confidence.
        settled: bool,
    },
    /// Its nonce is final with another message: these bytes can never land.
    Displaced {
        /// When this was seen.
        at: Timestamp,
    },
}

/// Bucket `POSTS`, key `<miner>.<open>.<partition>`: a partition's proof, kept until it is on chain and final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostRecord {
    /// The miner.
    pub miner: MinerId,
    /// The deadline's index.
    pub deadline: u64,
    /// The epoch it opens at.
    pub open: Epoch,
    /// The first epoch in which a proof no longer counts.
    pub close: Epoch,
    /// The partition.
    pub partition: u64,
    /// The challenge randomness the proof is over.
    pub randomness: Bytes32,
    /// The sectors proven.
    pub proven: Vec<SectorNumber>,
    /// The sectors skipped, with the reason.
    pub skipped: Vec<(SectorNumber, String)>,
    /// The proof, verified.
    pub proof: ProofBytes,
    /// When it was verified.
    pub proved_at: Timestamp,
    /// The message that carries it, once one does.
    pub message: Option<MessageRef>,
    /// The epoch at which the chain was seen to have it (`PostSubmissions`).
    pub landed_at: Option<Epoch>,
}

impl Text for PostRecord {
    const KIND: &'static str = "post";
    const VERSION: u64 = 1;
}

/// Bucket `LEASES`: who holds a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseHeld {
    /// The holder, unique to its run.
    pub holder: String,
    /// When it took or renewed it.
    pub at: Timestamp,
}

impl Text for LeaseHeld {
    const KIND: &'static str = "lease";
    const VERSION: u64 = 1;
}

/// Bucket `LOCKS`, key `<miner>.<sector>`: the place and agent that may write a sector's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorLock {
    /// The place.
    pub place: Place,
    /// The agent that took it.
    pub agent: AgentId,
    /// The sector's generation.
    pub generation: u32,
    /// The record's incarnation.
    pub incarnation: Incarnation,
}

impl Text for SectorLock {
    const KIND: &'static str = "sector-lock";
    const VERSION: u64 = 1;
}

/// Bucket `CLUSTER`, key `cluster`: which life of the queue this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterRecord {
    /// It.
    pub incarnation: Incarnation,
    /// The network whose sectors are in it.
    pub network: String,
    /// When it began.
    pub began_at: Timestamp,
    /// Why: `first start`, `rebuilt after a total loss`, `restored from a backup of …`.
    pub because: String,
}

impl Text for ClusterRecord {
    const KIND: &'static str = "cluster";
    const VERSION: u64 = 1;
}
