//! The calls this system makes of a chain node, and nothing more.

use std::collections::BTreeSet;

use async_trait::async_trait;
use cid::Cid;
use fvm_ipld_bitfield::BitField;
use fvm_shared::{address::Address, econ::TokenAmount, message::Message};
use streams::{
    id::{Epoch, MinerId, SectorNumber},
    proof::{Bytes32, SealProof},
    records::DeadlineNow,
};

use crate::error::ChainError;

/// A tipset's key: CIDs of its blocks. Empty means the head.
pub type TipSetKey = Vec<Cid>;

/// A tipset, by what this system uses of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TipSet {
    /// Its key.
    pub key: TipSetKey,
    /// Its parents' key.
    pub parents: TipSetKey,
    /// Its height.
    pub height: Epoch,
    /// Seconds since the Unix epoch, of its first block.
    pub timestamp: u64,
    /// The base fee its messages paid (attoFIL).
    pub base_fee: TokenAmount,
}

/// What the network decides and tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkParams {
    /// `mainnet`, `calibrationnet`, …
    pub name: String,
    /// Seconds between epochs.
    pub block_delay_secs: u64,
    /// Epochs from a pre-commit to its seed: 150 on mainnet.
    pub pre_commit_challenge_delay: Epoch,
}

/// An actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorState {
    /// Code CID.
    pub code: Cid,
    /// Nonce of the next message.
    pub nonce: u64,
    /// Balance.
    pub balance: TokenAmount,
}

/// `StateMinerInfo`, by what is used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinerInfo {
    /// Owner, an ID address.
    pub owner: Address,
    /// Worker, an ID address.
    pub worker: Address,
    /// Control addresses.
    pub control: Vec<Address>,
    /// Sector size in bytes.
    pub sector_size: u64,
    /// `RegisteredPoStProof` number of its window PoSts.
    pub window_post_proof: i64,
    /// Sectors in a full partition.
    pub partition_sectors: u64,
}

/// `StateSectorPreCommitInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreCommitOnChain {
    /// The sealed CID.
    pub sealed_cid: Cid,
    /// The ticket's epoch.
    pub seal_rand_epoch: Epoch,
    /// The epoch it landed in.
    pub pre_commit_epoch: Epoch,
    /// Its deposit.
    pub deposit: TokenAmount,
}

/// `StateSectorGetInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectorOnChain {
    /// Its number.
    pub number: SectorNumber,
    /// Seal proof type.
    pub seal_proof: i64,
    /// The sealed CID.
    pub sealed_cid: Cid,
    /// When it was activated.
    pub activation: Epoch,
    /// When it ends.
    pub expiration: Epoch,
    /// Pledge.
    pub initial_pledge: TokenAmount,
}

/// Deadline and partition of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorLocation {
    /// Deadline index.
    pub deadline: u64,
    /// Partition index within the deadline.
    pub partition: u64,
}

/// One deadline of `StateMinerDeadlines`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadlineState {
    /// Partitions already proven in the current window.
    pub post_submissions: BitField,
    /// Proofs that may still be disputed.
    pub disputable_proof_count: u64,
}

/// One partition of `StateMinerPartitions`.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionState {
    /// Every sector ever put there.
    pub all: BitField,
    /// Faulty ones.
    pub faulty: BitField,
    /// Declared recovered, not yet proven.
    pub recovering: BitField,
    /// Not terminated.
    pub live: BitField,
    /// Live, proven and not faulty.
    pub active: BitField,
}

/// What a message came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// 0 is success; the actor's own code otherwise.
    pub exit_code: u32,
    /// CBOR of the method's return value.
    pub return_value: Vec<u8>,
    /// Gas used.
    pub gas_used: i64,
}

/// `StateSearchMsg`'s answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageLookup {
    /// The CID that landed; another than the one asked for when it was replaced.
    pub cid: Cid,
    /// What it came to.
    pub receipt: Receipt,
    /// The tipset that executed it.
    pub tipset: TipSetKey,
    /// That tipset's height.
    pub height: Epoch,
}

/// A chain node. One implementation speaks JSON-RPC to Lotus, Forest or Venus; tests use the embedded devnet by the
/// same road. `tipset` arguments: empty means the head.
#[async_trait]
pub trait ChainApi: Send + Sync + 'static {
    /// `ChainHead`.
    async fn head(&self) -> Result<TipSet, ChainError>;
    /// `ChainGetTipSetByHeight`: the tipset at or before `height`.
    async fn tipset_by_height(&self, height: Epoch, tipset: &TipSetKey) -> Result<TipSet, ChainError>;
    /// `StateGetNetworkParams`.
    async fn network_params(&self) -> Result<NetworkParams, ChainError>;
    /// `StateNetworkVersion`.
    async fn network_version(&self, tipset: &TipSetKey) -> Result<u32, ChainError>;
    /// `StateGetActor`; an error of kind not-found when there is none.
    async fn actor(&self, address: &Address, tipset: &TipSetKey) -> Result<ActorState, ChainError>;
    /// `StateLookupID`.
    async fn lookup_id(&self, address: &Address, tipset: &TipSetKey) -> Result<Address, ChainError>;
    /// `StateAccountKey`.
    async fn account_key(&self, address: &Address, tipset: &TipSetKey) -> Result<Address, ChainError>;
    /// `StateMinerInfo`.
    async fn miner_info(&self, miner: MinerId, tipset: &TipSetKey) -> Result<MinerInfo, ChainError>;
    /// `StateMinerAvailableBalance`.
    async fn miner_available_balance(&self, miner: MinerId, tipset: &TipSetKey) -> Result<TokenAmount, ChainError>;
    /// `StateMinerProvingDeadline`.
    async fn proving_deadline(&self, miner: MinerId, tipset: &TipSetKey) -> Result<DeadlineNow, ChainError>;
    /// `StateMinerDeadlines`.
    async fn deadlines(&self, miner: MinerId, tipset: &TipSetKey) -> Result<Vec<DeadlineState>, ChainError>;
    /// `StateMinerPartitions`.
    async fn partitions(
        &self,
        miner: MinerId,
        deadline: u64,
        tipset: &TipSetKey,
    ) -> Result<Vec<PartitionState>, ChainError>;
    /// `StateMinerSectors`, filtered.
    async fn sectors(
        &self,
        miner: MinerId,
        filter: &BitField,
        tipset: &TipSetKey,
    ) -> Result<Vec<SectorOnChain>, ChainError>;
    /// `StateSectorGetInfo`.
    async fn sector(
        &self,
        miner: MinerId,
        number: SectorNumber,
        tipset: &TipSetKey,
    ) -> Result<Option<SectorOnChain>, ChainError>;
    /// `StateSectorPreCommitInfo`.
    async fn pre_commit(
        &self,
        miner: MinerId,
        number: SectorNumber,
        tipset: &TipSetKey,
    ) -> Result<Option<PreCommitOnChain>, ChainError>;
    /// `StateSectorPartition`; `None` when the sector is in no partition.
    async fn sector_location(
        &self,
        miner: MinerId,
        number: SectorNumber,
        tipset: &TipSetKey,
    ) -> Result<Option<SectorLocation>, ChainError>;
    /// `StateMinerSectorAllocated`.
    async fn sector_allocated(
        &self,
        miner: MinerId,
        number: SectorNumber,
        tipset: &TipSetKey,
    ) -> Result<bool, ChainError>;
    /// `StateMinerAllocated`: every number the miner ever used, or masked; `None` where the node lacks the method.
    async fn allocated_numbers(&self, miner: MinerId, tipset: &TipSetKey) -> Result<Option<BitField>, ChainError>;
    /// `StateGetRandomnessFromTickets`, `entropy` raw.
    async fn randomness_from_tickets(
        &self,
        tag: i64,
        epoch: Epoch,
        entropy: &[u8],
        tipset: &TipSetKey,
    ) -> Result<Bytes32, ChainError>;
    /// `StateGetRandomnessFromBeacon`, `entropy` raw.
    async fn randomness_from_beacon(
        &self,
        tag: i64,
        epoch: Epoch,
        entropy: &[u8],
        tipset: &TipSetKey,
    ) -> Result<Bytes32, ChainError>;
    /// `StateMinerInitialPledgeForSector`, or `StateMinerInitialPledgeCollateral` (which asks for the miner) where a
    /// node lacks it; with the node's own margin of 110/100.
    async fn initial_pledge(
        &self,
        miner: MinerId,
        duration: Epoch,
        proof: SealProof,
        verified_bytes: u64,
        tipset: &TipSetKey,
    ) -> Result<TokenAmount, ChainError>;
    /// `StateMinerPreCommitDepositForPower`.
    async fn pre_commit_deposit(
        &self,
        miner: MinerId,
        info: &crate::params::SectorPreCommitInfo,
        tipset: &TipSetKey,
    ) -> Result<TokenAmount, ChainError>;
    /// `StateMinerCreationDeposit` (FIP-0077); `None` where the node lacks the method.
    async fn creation_deposit(&self, tipset: &TipSetKey) -> Result<Option<TokenAmount>, ChainError>;
    /// `WalletBalance`.
    async fn balance(&self, address: &Address) -> Result<TokenAmount, ChainError>;
    /// `MpoolGetNonce`.
    async fn mpool_nonce(&self, address: &Address) -> Result<u64, ChainError>;
    /// `MpoolPending`: nonces of the messages of `sender` that wait in the node's pool. Where a node cannot list its
    /// pool, those up to its next nonce count as waiting.
    async fn mpool_pending(&self, sender: &Address) -> Result<BTreeSet<u64>, ChainError> {
        let next = self.mpool_nonce(sender).await?;
        Ok((used_nonces(self.actor(sender, &TipSetKey::new()).await)?..next).collect())
    }
    /// `MpoolPush`: `signed` is CBOR of a `SignedMessage`. Pushing the same bytes again is fine.
    async fn mpool_push(&self, signed: &[u8]) -> Result<Cid, ChainError>;
    /// `GasEstimateMessageGas`: the message with limit, cap and premium filled in. Executes it: a message that
    /// would fail is an error that carries its exit code.
    async fn estimate_gas(&self, message: &Message) -> Result<Message, ChainError>;
    /// `StateSearchMsg`, the whole chain, replacements allowed.
    async fn search_message(&self, cid: &Cid) -> Result<Option<MessageLookup>, ChainError>;
}

/// [`ChainApi::mpool_pending`] of a node that cannot list its pool.
pub(crate) async fn pending_by_nonce(chain: &dyn ChainApi, sender: &Address) -> Result<BTreeSet<u64>, ChainError> {
    let next = chain.mpool_nonce(sender).await?;
    Ok((used_nonces(chain.actor(sender, &TipSetKey::new()).await)?..next).collect())
}

/// An account that is not there has used none.
fn used_nonces(actor: Result<ActorState, ChainError>) -> Result<u64, ChainError> {
    match actor {
        Ok(actor) => Ok(actor.nonce),
        Err(error) if error.is_not_found() => Ok(0),
        Err(error) => Err(error),
    }
}
