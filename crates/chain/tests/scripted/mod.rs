//! A chain that answers what the test put there, and remembers what it was given.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chain::{
    ChainApi, ChainError, Fault,
    api::{
        ActorState, DeadlineState, MessageLookup, MinerInfo, NetworkParams, PartitionState, PreCommitOnChain, Receipt,
        SectorLocation, SectorOnChain, TipSet, TipSetKey,
    },
    cids,
    message::SignedMessage,
    params::SectorPreCommitInfo,
};
use cid::Cid;
use fvm_ipld_bitfield::BitField;
use fvm_shared::{address::Address, econ::TokenAmount, message::Message};
use streams::{
    id::{Epoch, MinerId, SectorNumber},
    proof::{Bytes32, SealProof},
    records::DeadlineNow,
};

/// What the test sets.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) height: Epoch,
    /// Nonce of the sender by height: the state at `height` has the last one not above it.
    pub(crate) nonces: Vec<(Epoch, u64)>,
    pub(crate) mpool_nonce: u64,
    /// The node takes no messages, as if the wire were cut.
    pub(crate) push_cut: bool,
    /// Estimating gas fails with this exit code.
    pub(crate) would_fail: Option<u32>,
    pub(crate) landed: Option<MessageLookup>,
    pub(crate) pushed: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Scripted(Arc<Mutex<Script>>);

impl Default for Scripted {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Script {
            height: 100,
            nonces: Vec::new(),
            mpool_nonce: 0,
            push_cut: false,
            would_fail: None,
            landed: None,
            pushed: Vec::new(),
        })))
    }
}

pub(crate) fn lookup(cid: Cid, height: Epoch, exit_code: u32) -> MessageLookup {
    let receipt = Receipt { exit_code, return_value: vec![0x80], gas_used: 7 };
    MessageLookup { cid, receipt, tipset: tipset(height).key, height }
}

fn tipset(height: Epoch) -> TipSet {
    TipSet {
        key: vec![cids::of_cbor(&height.to_be_bytes())],
        parents: vec![],
        height,
        timestamp: 0,
        base_fee: TokenAmount::from_atto(100),
    }
}

fn fault(fault: Fault) -> ChainError {
    ChainError { method: "scripted", endpoint: "test".into(), fault }
}

impl Scripted {
    pub(crate) fn set<R>(&self, change: impl FnOnce(&mut Script) -> R) -> R {
        change(&mut self.0.lock().unwrap())
    }

    pub(crate) fn pushed(&self) -> Vec<Vec<u8>> {
        self.set(|s| s.pushed.clone())
    }
}

#[async_trait]
impl ChainApi for Scripted {
    async fn head(&self) -> Result<TipSet, ChainError> {
        Ok(tipset(self.set(|s| s.height)))
    }

    async fn tipset_by_height(&self, height: Epoch, _: &TipSetKey) -> Result<TipSet, ChainError> {
        Ok(tipset(height))
    }

    async fn network_params(&self) -> Result<NetworkParams, ChainError> {
        Ok(NetworkParams { name: "scripted".into(), block_delay_secs: 1, pre_commit_challenge_delay: 5 })
    }

    async fn actor(&self, _: &Address, key: &TipSetKey) -> Result<ActorState, ChainError> {
        self.set(|s| {
            let height = (0..=s.height).rev().find(|h| key.is_empty() || tipset(*h).key == *key).unwrap();
            let nonce = s.nonces.iter().filter(|(at, _)| *at <= height).map(|(_, nonce)| *nonce).next_back();
            let nonce = nonce.ok_or_else(|| fault(Fault::NotFound("actor".into())))?;
            Ok(ActorState { code: cids::of_cbor(b"account"), nonce, balance: TokenAmount::from_whole(1) })
        })
    }

    async fn proving_deadline(&self, miner: MinerId, _: &TipSetKey) -> Result<DeadlineNow, ChainError> {
        let epoch = self.set(|s| s.height);
        Ok(DeadlineNow {
            miner,
            epoch,
            period_start: 0,
            index: 1,
            open: 15,
            close: 30,
            challenge: 12,
            fault_cutoff: 7,
            period_deadlines: 6,
            proving_period: 90,
            challenge_window: 15,
            challenge_lookback: 3,
        })
    }

    async fn mpool_nonce(&self, _: &Address) -> Result<u64, ChainError> {
        Ok(self.set(|s| s.mpool_nonce))
    }

    async fn mpool_push(&self, signed: &[u8]) -> Result<Cid, ChainError> {
        self.set(|s| {
            if s.push_cut {
                return Err(fault(Fault::Transport("cut".into())));
            }
            s.pushed.push(signed.to_vec());
            Ok(SignedMessage::from_cbor(signed).unwrap().cid().unwrap())
        })
    }

    async fn estimate_gas(&self, message: &Message) -> Result<Message, ChainError> {
        if let Some(exit_code) = self.set(|s| s.would_fail) {
            return Err(fault(Fault::ExecutionFailed { exit_code, message: "no".into() }));
        }
        let atto = TokenAmount::from_atto;
        Ok(Message { gas_limit: 1_000, gas_fee_cap: atto(100), gas_premium: atto(50), ..message.clone() })
    }

    async fn search_message(&self, _: &Cid) -> Result<Option<MessageLookup>, ChainError> {
        Ok(self.set(|s| s.landed.clone()))
    }

    async fn network_version(&self, _: &TipSetKey) -> Result<u32, ChainError> {
        unreachable!()
    }
    async fn lookup_id(&self, _: &Address, _: &TipSetKey) -> Result<Address, ChainError> {
        unreachable!()
    }
    async fn account_key(&self, _: &Address, _: &TipSetKey) -> Result<Address, ChainError> {
        unreachable!()
    }
    async fn miner_info(&self, _: MinerId, _: &TipSetKey) -> Result<MinerInfo, ChainError> {
        unreachable!()
    }
    async fn miner_available_balance(&self, _: MinerId, _: &TipSetKey) -> Result<TokenAmount, ChainError> {
        unreachable!()
    }
    async fn deadlines(&self, _: MinerId, _: &TipSetKey) -> Result<Vec<DeadlineState>, ChainError> {
        unreachable!()
    }
    async fn partitions(&self, _: MinerId, _: u64, _: &TipSetKey) -> Result<Vec<PartitionState>, ChainError> {
        unreachable!()
    }
    async fn sectors(&self, _: MinerId, _: &BitField, _: &TipSetKey) -> Result<Vec<SectorOnChain>, ChainError> {
        unreachable!()
    }
    async fn sector(&self, _: MinerId, _: SectorNumber, _: &TipSetKey) -> Result<Option<SectorOnChain>, ChainError> {
        unreachable!()
    }
    async fn pre_commit(
        &self,
        _: MinerId,
        _: SectorNumber,
        _: &TipSetKey,
    ) -> Result<Option<PreCommitOnChain>, ChainError> {
        unreachable!()
    }
    async fn sector_location(
        &self,
        _: MinerId,
        _: SectorNumber,
        _: &TipSetKey,
    ) -> Result<Option<SectorLocation>, ChainError> {
        unreachable!()
    }
    async fn sector_allocated(&self, _: MinerId, _: SectorNumber, _: &TipSetKey) -> Result<bool, ChainError> {
        unreachable!()
    }
    async fn allocated_numbers(&self, _: MinerId, _: &TipSetKey) -> Result<Option<BitField>, ChainError> {
        unreachable!()
    }
    async fn randomness_from_tickets(&self, _: i64, _: Epoch, _: &[u8], _: &TipSetKey) -> Result<Bytes32, ChainError> {
        unreachable!()
    }
    async fn randomness_from_beacon(&self, _: i64, _: Epoch, _: &[u8], _: &TipSetKey) -> Result<Bytes32, ChainError> {
        unreachable!()
    }
    async fn initial_pledge(
        &self,
        _: MinerId,
        _: Epoch,
        _: SealProof,
        _: u64,
        _: &TipSetKey,
    ) -> Result<TokenAmount, ChainError> {
        unreachable!()
    }
    async fn pre_commit_deposit(
        &self,
        _: MinerId,
        _: &SectorPreCommitInfo,
        _: &TipSetKey,
    ) -> Result<TokenAmount, ChainError> {
        unreachable!()
    }
    async fn creation_deposit(&self, _: &TipSetKey) -> Result<Option<TokenAmount>, ChainError> {
        unreachable!()
    }
    async fn balance(&self, _: &Address) -> Result<TokenAmount, ChainError> {
        unreachable!()
    }
}
