//! The calls of a node.

use std::time::Duration;

use async_trait::async_trait;
use chain::{
    ChainApi, ChainError, Fault,
    api::{
        ActorState, DeadlineState, MessageLookup, MinerInfo, NetworkParams, PartitionState, PreCommitOnChain,
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

use super::{
    miner::{Deadline, Miner, PARTITION_SECTORS, Partition, SEAL, window_at},
    node::{Node, error},
    world::State,
};

fn bits(numbers: impl IntoIterator<Item = u64>) -> BitField {
    BitField::try_from_bits(numbers).unwrap_or_default()
}

#[async_trait]
impl ChainApi for Node {
    async fn head(&self) -> Result<TipSet, ChainError> {
        self.call("head").await?;
        let behind = if self.strikes(|rates| rates.stale) { 3 } else { 0 };
        let world = self.world();
        let last = world.blocks.len().saturating_sub(1);
        let found = world.tipset(last.saturating_sub(behind));
        found.ok_or_else(|| error("head", Fault::NotFound("no tipset".to_owned())))
    }

    async fn tipset_by_height(&self, height: Epoch, key: &TipSetKey) -> Result<TipSet, ChainError> {
        self.call("tipset_by_height").await?;
        self.at("tipset_by_height", key, |world, index, _| {
            let known = world.blocks.get(..=index).unwrap_or_default();
            let found = known.iter().rposition(|block| block.height <= height);
            found.and_then(|index| world.tipset(index)).ok_or_else(|| Fault::NotFound("no tipset".to_owned()))
        })
    }

    async fn network_params(&self) -> Result<NetworkParams, ChainError> {
        self.call("network_params").await?;
        let world = self.world();
        Ok(NetworkParams {
            name: chain::policy::DEVNET_FAST.to_owned(),
            block_delay_secs: world.policy.block_delay_ms / 1_000,
            pre_commit_challenge_delay: world.policy.pre_commit_challenge_delay,
        })
    }

    async fn network_version(&self, _: &TipSetKey) -> Result<u32, ChainError> {
        Ok(27)
    }

    async fn actor(&self, address: &Address, key: &TipSetKey) -> Result<ActorState, ChainError> {
        self.call("actor").await?;
        self.at("actor", key, |_, _, block| {
            let nonce = block.state.nonces.get(address).copied();
            let nonce = nonce.ok_or_else(|| Fault::NotFound("no such actor".to_owned()))?;
            Ok(ActorState { code: cids::of_cbor(b"account"), nonce, balance: TokenAmount::from_whole(1_000_000) })
        })
    }

    async fn lookup_id(&self, address: &Address, _: &TipSetKey) -> Result<Address, ChainError> {
        self.call("lookup_id").await?;
        let id = self.world().owners.get(address).copied();
        id.map(Address::new_id).ok_or_else(|| error("lookup_id", Fault::NotFound("no such actor".to_owned())))
    }

    async fn account_key(&self, address: &Address, _: &TipSetKey) -> Result<Address, ChainError> {
        self.call("account_key").await?;
        let world = self.world();
        let found = world.owners.iter().find(|(_, id)| Address::new_id(**id) == *address).map(|(key, _)| *key);
        Ok(found.unwrap_or(*address))
    }

    async fn miner_info(&self, miner: MinerId, key: &TipSetKey) -> Result<MinerInfo, ChainError> {
        self.call("miner_info").await?;
        self.miner("miner_info", miner, key, |world, _, _| {
            let ids: Vec<Address> = world.owners.values().map(|id| Address::new_id(*id)).collect();
            let worker = ids.first().copied().unwrap_or_else(|| Address::new_id(100));
            MinerInfo {
                owner: worker,
                worker,
                control: ids,
                sector_size: SEAL.sector_size(),
                window_post_proof: SEAL.window_post_number(),
                partition_sectors: u64::try_from(PARTITION_SECTORS).unwrap_or(2),
            }
        })
    }

    async fn miner_available_balance(&self, _: MinerId, _: &TipSetKey) -> Result<TokenAmount, ChainError> {
        self.call("miner_available_balance").await?;
        Ok(TokenAmount::from_whole(1_000_000))
    }

    async fn proving_deadline(&self, miner: MinerId, key: &TipSetKey) -> Result<DeadlineNow, ChainError> {
        self.call("proving_deadline").await?;
        self.miner("proving_deadline", miner, key, |world, block, _| {
            let policy = &world.policy;
            let window = window_at(policy, block.height);
            let before = Epoch::try_from(window.index).unwrap_or(0) * policy.challenge_window;
            DeadlineNow {
                miner,
                epoch: block.height,
                period_start: window.open - before,
                index: window.index,
                open: window.open,
                close: window.close,
                challenge: window.open - policy.challenge_lookback,
                fault_cutoff: window.open - policy.fault_cutoff,
                period_deadlines: policy.period_deadlines,
                proving_period: policy.proving_period,
                challenge_window: policy.challenge_window,
                challenge_lookback: policy.challenge_lookback,
            }
        })
    }

    async fn deadlines(&self, miner: MinerId, key: &TipSetKey) -> Result<Vec<DeadlineState>, ChainError> {
        self.call("deadlines").await?;
        self.miner("deadlines", miner, key, |_, _, held| {
            let state = |deadline: &Deadline| DeadlineState {
                post_submissions: bits(deadline.submitted.iter().copied()),
                disputable_proof_count: 0,
            };
            held.deadlines.iter().map(state).collect()
        })
    }

    async fn partitions(
        &self,
        miner: MinerId,
        deadline: u64,
        key: &TipSetKey,
    ) -> Result<Vec<PartitionState>, ChainError> {
        self.call("partitions").await?;
        self.miner("partitions", miner, key, |_, _, held| {
            let found = usize::try_from(deadline).ok().and_then(|index| held.deadlines.get(index));
            let state = |p: &Partition| PartitionState {
                all: bits(p.live.iter().copied()),
                faulty: bits(p.faulty.iter().copied()),
                recovering: bits(p.recovering.iter().copied()),
                live: bits(p.live.iter().copied()),
                active: bits(p.live.difference(&p.faulty).copied()),
            };
            found.map(|deadline| deadline.partitions.iter().map(state).collect()).unwrap_or_default()
        })
    }

    async fn sectors(
        &self,
        miner: MinerId,
        filter: &BitField,
        key: &TipSetKey,
    ) -> Result<Vec<SectorOnChain>, ChainError> {
        self.call("sectors").await?;
        self.miner("sectors", miner, key, |_, _, held| {
            held.sectors.iter().filter(|(number, _)| filter.get(**number)).map(|(_, sector)| sector.clone()).collect()
        })
    }

    async fn sector(
        &self,
        miner: MinerId,
        number: SectorNumber,
        key: &TipSetKey,
    ) -> Result<Option<SectorOnChain>, ChainError> {
        self.call("sector").await?;
        self.miner("sector", miner, key, |_, _, held| held.sectors.get(&number.0).cloned())
    }

    async fn pre_commit(
        &self,
        miner: MinerId,
        number: SectorNumber,
        key: &TipSetKey,
    ) -> Result<Option<PreCommitOnChain>, ChainError> {
        self.call("pre_commit").await?;
        let found = |held: &Miner| held.pre_commits.get(&number.0).map(|found| found.on_chain.clone());
        self.miner("pre_commit", miner, key, |_, _, held| found(held))
    }

    async fn sector_location(
        &self,
        miner: MinerId,
        number: SectorNumber,
        key: &TipSetKey,
    ) -> Result<Option<SectorLocation>, ChainError> {
        self.call("sector_location").await?;
        self.miner("sector_location", miner, key, |_, _, held| held.location(number.0))
    }

    async fn sector_allocated(
        &self,
        miner: MinerId,
        number: SectorNumber,
        key: &TipSetKey,
    ) -> Result<bool, ChainError> {
        self.call("sector_allocated").await?;
        self.miner("sector_allocated", miner, key, |_, _, held| held.allocated.contains(&number.0))
    }

    async fn allocated_numbers(&self, miner: MinerId, key: &TipSetKey) -> Result<Option<BitField>, ChainError> {
        self.call("allocated_numbers").await?;
        self.miner("allocated_numbers", miner, key, |_, _, held| Some(bits(held.allocated.iter().copied())))
    }

    async fn randomness_from_tickets(
        &self,
        tag: i64,
        epoch: Epoch,
        entropy: &[u8],
        key: &TipSetKey,
    ) -> Result<Bytes32, ChainError> {
        self.call("randomness_from_tickets").await?;
        self.at("randomness_from_tickets", key, |world, index, block| {
            if epoch > block.height {
                return Err(Fault::Refused { code: 1, message: "cannot draw randomness from the future".to_owned() });
            }
            Ok(world.tickets(index, tag, epoch, entropy))
        })
    }

    async fn randomness_from_beacon(
        &self,
        tag: i64,
        epoch: Epoch,
        entropy: &[u8],
        key: &TipSetKey,
    ) -> Result<Bytes32, ChainError> {
        self.call("randomness_from_beacon").await?;
        self.at("randomness_from_beacon", key, |world, _, block| {
            if epoch > block.height {
                return Err(Fault::Refused { code: 1, message: "cannot draw randomness from the future".to_owned() });
            }
            Ok(world.beacon(tag, epoch, entropy))
        })
    }

    async fn initial_pledge(
        &self,
        _: MinerId,
        _: Epoch,
        _: SealProof,
        _: u64,
        _: &TipSetKey,
    ) -> Result<TokenAmount, ChainError> {
        self.call("initial_pledge").await?;
        Ok(TokenAmount::from_atto(1))
    }

    async fn pre_commit_deposit(
        &self,
        _: MinerId,
        _: &SectorPreCommitInfo,
        _: &TipSetKey,
    ) -> Result<TokenAmount, ChainError> {
        self.call("pre_commit_deposit").await?;
        Ok(TokenAmount::from_atto(1))
    }

    async fn creation_deposit(&self, _: &TipSetKey) -> Result<Option<TokenAmount>, ChainError> {
        Ok(None)
    }

    async fn balance(&self, _: &Address) -> Result<TokenAmount, ChainError> {
        self.call("balance").await?;
        Ok(TokenAmount::from_whole(1_000_000))
    }

    async fn mpool_nonce(&self, address: &Address) -> Result<u64, ChainError> {
        self.call("mpool_nonce").await?;
        Ok(self.world().next_nonce(address))
    }

    async fn mpool_push(&self, bytes: &[u8]) -> Result<Cid, ChainError> {
        const METHOD: &str = "mpool_push";
        tokio::time::sleep(Duration::from_millis(2)).await;
        if self.strikes(|rates| rates.broken) {
            return Err(error(METHOD, Fault::Transport("the connection broke".to_owned())));
        }
        let signed = SignedMessage::from_cbor(bytes).map_err(|e| error(METHOD, Fault::BadRequest(e.to_string())))?;
        let pushed = self.world().push(signed, bytes);
        if self.strikes(|rates| rates.timeouts) {
            return Err(self.silence(METHOD).await);
        }
        pushed.map_err(|words| error(METHOD, chain::error::classify(1, &words)))
    }

    async fn estimate_gas(&self, message: &Message) -> Result<Message, ChainError> {
        self.call("estimate_gas").await?;
        let world = self.world();
        let Some(head) = world.head() else { return Ok(message.clone()) };
        let mut state = State::clone(&head.state);
        let receipt = world.execute(&mut state, message, head.height + 1);
        if receipt.exit_code != 0 {
            let (exit_code, message) = (receipt.exit_code, "message execution failed".to_owned());
            return Err(error("estimate_gas", Fault::ExecutionFailed { exit_code, message }));
        }
        let (fee, premium) = (TokenAmount::from_atto(200), TokenAmount::from_atto(10));
        Ok(Message { gas_limit: 1_250_000, gas_fee_cap: fee, gas_premium: premium, ..message.clone() })
    }

    async fn search_message(&self, cid: &Cid) -> Result<Option<MessageLookup>, ChainError> {
        self.call("search_message").await?;
        if self.strikes(|rates| rates.blind) {
            return Ok(None);
        }
        Ok(self.world().search(cid))
    }
}
