//! [`ChainApi`] over JSON-RPC.

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

use crate::{
    address::of_miner,
    api::{
        ActorState, ChainApi, DeadlineState, MessageLookup, MinerInfo, NetworkParams, PartitionState, PreCommitOnChain,
        Receipt, SectorLocation, SectorOnChain, TipSet, TipSetKey, pending_by_nonce,
    },
    error::{ChainError, Fault},
    json::{AddressJson, Base64, BitFieldJson, CidJson, TokenJson},
    message::SignedMessage,
    params::SectorPreCommitInfo,
    rpc::JsonRpc,
    wire::{
        ActorStateJson, DeadlineJson, MessageJson, MinerInfoJson, MsgLookupJson, PartitionJson, PreCommitInfoJson,
        PreCommitOnChainJson, ProvingDeadlineJson, SectorInfoJson, SectorLocationJson, SignatureJson,
        SignedMessageJson, TipSetJson,
    },
};

fn key(tipset: &TipSetKey) -> Vec<CidJson> {
    tipset.iter().copied().map(CidJson).collect()
}

fn cids(key: Vec<CidJson>) -> TipSetKey {
    key.into_iter().map(|cid| cid.0).collect()
}

fn id(miner: MinerId) -> AddressJson {
    of_miner(miner).into()
}

impl JsonRpc {
    fn tipset(&self, method: &'static str, tipset: TipSetJson) -> Result<TipSet, ChainError> {
        let Some(first) = tipset.blocks.into_iter().next() else {
            return Err(self.error(method, Fault::BadAnswer("the tipset has no blocks".to_owned())));
        };
        Ok(TipSet {
            key: cids(tipset.cids),
            parents: cids(first.parents),
            height: tipset.height,
            timestamp: first.timestamp,
            base_fee: first.parent_base_fee.0,
        })
    }

    async fn token<P: serde::Serialize + Send>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<TokenAmount, ChainError> {
        Ok(self.call::<_, TokenJson>(method, params).await?.0)
    }

    async fn randomness(
        &self,
        method: &'static str,
        (tag, epoch, entropy): (i64, Epoch, &[u8]),
        tipset: &TipSetKey,
    ) -> Result<Bytes32, ChainError> {
        let drawn: Base64 = self.call(method, (tag, epoch, Base64(entropy.to_vec()), key(tipset))).await?;
        let length = drawn.0.len();
        drawn
            .0
            .try_into()
            .map(Bytes32)
            .map_err(|_| self.error(method, Fault::BadAnswer(format!("randomness has {length} bytes and not 32"))))
    }
}

#[async_trait]
impl ChainApi for JsonRpc {
    async fn head(&self) -> Result<TipSet, ChainError> {
        const METHOD: &str = "Filecoin.ChainHead";
        self.tipset(METHOD, self.call(METHOD, [(); 0]).await?)
    }

    async fn tipset_by_height(&self, height: Epoch, tipset: &TipSetKey) -> Result<TipSet, ChainError> {
        const METHOD: &str = "Filecoin.ChainGetTipSetByHeight";
        self.tipset(METHOD, self.call(METHOD, (height, key(tipset))).await?)
    }

    async fn network_params(&self) -> Result<NetworkParams, ChainError> {
        let params = self.params().await?;
        Ok(NetworkParams {
            name: params.network_name,
            block_delay_secs: params.block_delay_secs,
            pre_commit_challenge_delay: params.pre_commit_challenge_delay,
        })
    }

    async fn network_version(&self, tipset: &TipSetKey) -> Result<u32, ChainError> {
        self.call("Filecoin.StateNetworkVersion", (key(tipset),)).await
    }

    async fn actor(&self, address: &Address, tipset: &TipSetKey) -> Result<ActorState, ChainError> {
        const METHOD: &str = "Filecoin.StateGetActor";
        // Some nodes answer null where others answer an error.
        let actor: Option<ActorStateJson> = self.call(METHOD, (AddressJson(*address), key(tipset))).await?;
        let actor = actor.ok_or_else(|| self.error(METHOD, Fault::NotFound(crate::address::print(address))))?;
        Ok(ActorState { code: actor.code.0, nonce: actor.nonce, balance: actor.balance.0 })
    }

    async fn lookup_id(&self, address: &Address, tipset: &TipSetKey) -> Result<Address, ChainError> {
        Ok(self.call::<_, AddressJson>("Filecoin.StateLookupID", (AddressJson(*address), key(tipset))).await?.0)
    }

    async fn account_key(&self, address: &Address, tipset: &TipSetKey) -> Result<Address, ChainError> {
        Ok(self.call::<_, AddressJson>("Filecoin.StateAccountKey", (AddressJson(*address), key(tipset))).await?.0)
    }

    async fn miner_info(&self, miner: MinerId, tipset: &TipSetKey) -> Result<MinerInfo, ChainError> {
        let info: MinerInfoJson = self.call("Filecoin.StateMinerInfo", (id(miner), key(tipset))).await?;
        Ok(MinerInfo {
            owner: info.owner.0,
            worker: info.worker.0,
            control: info.control_addresses.into_iter().map(|a| a.0).collect(),
            sector_size: info.sector_size,
            window_post_proof: info.window_post_proof_type,
            partition_sectors: info.window_post_partition_sectors,
        })
    }

    async fn miner_available_balance(&self, miner: MinerId, tipset: &TipSetKey) -> Result<TokenAmount, ChainError> {
        self.token("Filecoin.StateMinerAvailableBalance", (id(miner), key(tipset))).await
    }

    async fn proving_deadline(&self, miner: MinerId, tipset: &TipSetKey) -> Result<DeadlineNow, ChainError> {
        let now: ProvingDeadlineJson =
            self.call("Filecoin.StateMinerProvingDeadline", (id(miner), key(tipset))).await?;
        Ok(DeadlineNow {
            miner,
            epoch: now.current_epoch,
            period_start: now.period_start,
            index: now.index,
            open: now.open,
            close: now.close,
            challenge: now.challenge,
            fault_cutoff: now.fault_cutoff,
            period_deadlines: now.wpost_period_deadlines,
            proving_period: now.wpost_proving_period,
            challenge_window: now.wpost_challenge_window,
            challenge_lookback: now.wpost_challenge_lookback,
        })
    }

    async fn deadlines(&self, miner: MinerId, tipset: &TipSetKey) -> Result<Vec<DeadlineState>, ChainError> {
        let deadlines: Vec<DeadlineJson> = self.call("Filecoin.StateMinerDeadlines", (id(miner), key(tipset))).await?;
        let state = |d: DeadlineJson| DeadlineState {
            post_submissions: d.post_submissions.0,
            disputable_proof_count: d.disputable_proof_count,
        };
        Ok(deadlines.into_iter().map(state).collect())
    }

    async fn partitions(
        &self,
        miner: MinerId,
        deadline: u64,
        tipset: &TipSetKey,
    ) -> Result<Vec<PartitionState>, ChainError> {
        let partitions: Option<Vec<PartitionJson>> =
            self.call("Filecoin.StateMinerPartitions", (id(miner), deadline, key(tipset))).await?;
        let state = |p: PartitionJson| PartitionState {
            all: p.all_sectors.0,
            faulty: p.faulty_sectors.0,
            recovering: p.recovering_sectors.0,
            live: p.live_sectors.0,
            active: p.active_sectors.0,
        };
        Ok(partitions.unwrap_or_default().into_iter().map(state).collect())
    }

    async fn sectors(
        &self,
        miner: MinerId,
        filter: &BitField,
        tipset: &TipSetKey,
    ) -> Result<Vec<SectorOnChain>, ChainError> {
        let params = (id(miner), BitFieldJson(filter.clone()), key(tipset));
        let sectors: Option<Vec<SectorInfoJson>> = self.call("Filecoin.StateMinerSectors", params).await?;
        Ok(sectors.unwrap_or_default().into_iter().map(SectorOnChain::from).collect())
    }

    async fn sector(
        &self,
        miner: MinerId,
        number: SectorNumber,
        tipset: &TipSetKey,
    ) -> Result<Option<SectorOnChain>, ChainError> {
        let params = (id(miner), number.0, key(tipset));
        let sector: Option<SectorInfoJson> = absent(self.call("Filecoin.StateSectorGetInfo", params).await)?;
        Ok(sector.map(SectorOnChain::from))
    }

    async fn pre_commit(
        &self,
        miner: MinerId,
        number: SectorNumber,
        tipset: &TipSetKey,
    ) -> Result<Option<PreCommitOnChain>, ChainError> {
        let params = (id(miner), number.0, key(tipset));
        let found: Option<PreCommitOnChainJson> = absent(self.call("Filecoin.StateSectorPreCommitInfo", params).await)?;
        Ok(found.map(|p| PreCommitOnChain {
            sealed_cid: p.info.sealed_cid.0,
            seal_rand_epoch: p.info.seal_rand_epoch,
            pre_commit_epoch: p.pre_commit_epoch,
            deposit: p.pre_commit_deposit.0,
        }))
    }

    async fn sector_location(
        &self,
        miner: MinerId,
        number: SectorNumber,
        tipset: &TipSetKey,
    ) -> Result<Option<SectorLocation>, ChainError> {
        let params = (id(miner), number.0, key(tipset));
        let found: Option<SectorLocationJson> = absent(self.call("Filecoin.StateSectorPartition", params).await)?;
        Ok(found.map(|at| SectorLocation { deadline: at.deadline, partition: at.partition }))
    }

    async fn sector_allocated(
        &self,
        miner: MinerId,
        number: SectorNumber,
        tipset: &TipSetKey,
    ) -> Result<bool, ChainError> {
        self.call("Filecoin.StateMinerSectorAllocated", (id(miner), number.0, key(tipset))).await
    }

    async fn allocated_numbers(&self, miner: MinerId, tipset: &TipSetKey) -> Result<Option<BitField>, ChainError> {
        match self.call::<_, BitFieldJson>("Filecoin.StateMinerAllocated", (id(miner), key(tipset))).await {
            Ok(numbers) => Ok(Some(numbers.0)),
            Err(error) if error.is_method_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn randomness_from_tickets(
        &self,
        tag: i64,
        epoch: Epoch,
        entropy: &[u8],
        tipset: &TipSetKey,
    ) -> Result<Bytes32, ChainError> {
        self.randomness("Filecoin.StateGetRandomnessFromTickets", (tag, epoch, entropy), tipset).await
    }

    async fn randomness_from_beacon(
        &self,
        tag: i64,
        epoch: Epoch,
        entropy: &[u8],
        tipset: &TipSetKey,
    ) -> Result<Bytes32, ChainError> {
        self.randomness("Filecoin.StateGetRandomnessFromBeacon", (tag, epoch, entropy), tipset).await
    }

    async fn initial_pledge(
        &self,
        miner: MinerId,
        duration: Epoch,
        proof: SealProof,
        verified_bytes: u64,
        tipset: &TipSetKey,
    ) -> Result<TokenAmount, ChainError> {
        let params = (duration, proof.sector_size(), verified_bytes, key(tipset));
        match self.token("Filecoin.StateMinerInitialPledgeForSector", params).await {
            Err(error) if error.is_method_missing() => {}
            other => return other,
        }
        // The older method asks for a whole pre-commit and uses its proof type, expiration and deals alone.
        const OLDER: &str = "Filecoin.StateMinerInitialPledgeCollateral";
        let any =
            crate::cids::sealed(&Bytes32([0; 32])).map_err(|e| self.error(OLDER, Fault::BadRequest(e.to_string())))?;
        let head = self.head().await?;
        let info = PreCommitInfoJson {
            seal_proof: proof.number(),
            sector_number: 0,
            sealed_cid: any.into(),
            seal_rand_epoch: head.height,
            deal_ids: Vec::new(),
            expiration: head.height + duration,
            unsealed_cid: None,
        };
        self.token(OLDER, (id(miner), info, key(tipset))).await
    }

    async fn pre_commit_deposit(
        &self,
        miner: MinerId,
        info: &SectorPreCommitInfo,
        tipset: &TipSetKey,
    ) -> Result<TokenAmount, ChainError> {
        let params = (id(miner), PreCommitInfoJson::of(info), key(tipset));
        self.token("Filecoin.StateMinerPreCommitDepositForPower", params).await
    }

    async fn creation_deposit(&self, tipset: &TipSetKey) -> Result<Option<TokenAmount>, ChainError> {
        match self.token("Filecoin.StateMinerCreationDeposit", (key(tipset),)).await {
            Ok(deposit) => Ok(Some(deposit)),
            Err(error) if error.is_method_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn balance(&self, address: &Address) -> Result<TokenAmount, ChainError> {
        self.token("Filecoin.WalletBalance", (AddressJson(*address),)).await
    }

    async fn mpool_nonce(&self, address: &Address) -> Result<u64, ChainError> {
        self.call("Filecoin.MpoolGetNonce", (AddressJson(*address),)).await
    }

    async fn mpool_pending(&self, sender: &Address) -> Result<BTreeSet<u64>, ChainError> {
        let head: [(); 0] = [];
        match self.call::<_, Option<Vec<SignedMessageJson>>>("Filecoin.MpoolPending", (head,)).await {
            Ok(pending) => {
                let ours = pending.unwrap_or_default().into_iter().filter(|waiting| waiting.message.from.0 == *sender);
                Ok(ours.map(|waiting| waiting.message.nonce).collect())
            }
            Err(error) if error.is_method_missing() => pending_by_nonce(self, sender).await,
            Err(error) => Err(error),
        }
    }

    async fn mpool_push(&self, signed: &[u8]) -> Result<Cid, ChainError> {
        const METHOD: &str = "Filecoin.MpoolPush";
        let bad = |e: String| self.error(METHOD, Fault::BadRequest(e));
        let signed = SignedMessage::from_cbor(signed).map_err(|e| bad(e.to_string()))?;
        let shape = SignedMessageJson {
            message: MessageJson::of(&signed.message).map_err(|e| bad(e.to_string()))?,
            signature: SignatureJson::of(&signed.signature),
            cid: None,
        };
        match self.call::<_, CidJson>(METHOD, (shape,)).await {
            Ok(cid) => Ok(cid.0),
            // Lotus refuses a message that waits already; for whoever pushes again that is success. Another message
            // under the same nonce is refused in other words.
            Err(ChainError { fault: Fault::Refused { message, .. }, .. }) if message.contains("already in mpool") => {
                signed.cid().map_err(|e| bad(e.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    async fn estimate_gas(&self, message: &Message) -> Result<Message, ChainError> {
        const METHOD: &str = "Filecoin.GasEstimateMessageGas";
        let shape = MessageJson::of(message).map_err(|e| self.error(METHOD, Fault::BadRequest(e.to_string())))?;
        // No spec: its members differ between nodes, and the fee cap is this system's own.
        let spec: Option<()> = None;
        let filled: MessageJson = self.call(METHOD, (shape, spec, [(); 0])).await?;
        filled.into_message().map_err(|e| self.error(METHOD, Fault::BadAnswer(e.to_string())))
    }

    async fn search_message(&self, cid: &Cid) -> Result<Option<MessageLookup>, ChainError> {
        const WHOLE_CHAIN: i64 = -1;
        const ALLOW_REPLACED: bool = true;
        let head: [(); 0] = [];
        let params = (head, CidJson(*cid), WHOLE_CHAIN, ALLOW_REPLACED);
        let found: Option<MsgLookupJson> = absent(self.call("Filecoin.StateSearchMsg", params).await)?;
        Ok(found.map(|found| MessageLookup {
            cid: found.message.0,
            receipt: Receipt {
                exit_code: found.receipt.exit_code,
                return_value: found.receipt.r#return.0,
                gas_used: found.receipt.gas_used,
            },
            tipset: cids(found.tipset),
            height: found.height,
        }))
    }
}

/// Where one node answers null, another answers an error of kind not-found.
fn absent<T>(answer: Result<Option<T>, ChainError>) -> Result<Option<T>, ChainError> {
    match answer {
        Err(error) if error.is_not_found() => Ok(None),
        other => other,
    }
}
