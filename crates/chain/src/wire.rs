//! The JSON shapes of the `Filecoin.*` methods in use, as Lotus v1, Forest and Venus serve them.
//!
//! Read and written by the same types: this crate's client reads them, the embedded devnet serves them. Unknown
//! members are ignored, since every node adds its own.

use fvm_shared::{
    crypto::signature::{Signature, SignatureType},
    message::Message,
};
use serde::{Deserialize, Serialize};

use crate::{
    json::{AddressJson, Base64, BitFieldJson, CidJson, TokenJson, null_as_empty},
    params::SectorPreCommitInfo,
};

macro_rules! shapes {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        #[expect(missing_docs, reason = "the members are the node's own words, documented there")]
        pub struct $name { $($(#[$fmeta])* pub $field: $type),* }
    )*};
}

shapes! {
    /// `Version`.
    VersionJson {
        version: String,
        #[serde(rename = "APIVersion")]
        api_version: u64,
        block_delay: u64,
        #[serde(default)]
        agent: String,
    }

    /// A tipset.
    TipSetJson {
        cids: Vec<CidJson>,
        blocks: Vec<BlockHeaderJson>,
        height: i64,
    }

    /// A block header. Members that only consensus uses are optional.
    BlockHeaderJson {
        miner: AddressJson,
        #[serde(default)]
        ticket: Option<TicketJson>,
        #[serde(default)]
        election_proof: Option<ElectionProofJson>,
        #[serde(default, deserialize_with = "null_as_empty")]
        beacon_entries: Vec<BeaconEntryJson>,
        #[serde(default, rename = "WinPoStProof", deserialize_with = "null_as_empty")]
        win_post_proof: Vec<PoStProofJson>,
        #[serde(default, deserialize_with = "null_as_empty")]
        parents: Vec<CidJson>,
        #[serde(default)]
        parent_weight: TokenJson,
        height: i64,
        parent_state_root: CidJson,
        parent_message_receipts: CidJson,
        messages: CidJson,
        #[serde(default, rename = "BLSAggregate")]
        bls_aggregate: Option<SignatureJson>,
        timestamp: u64,
        #[serde(default)]
        block_sig: Option<SignatureJson>,
        #[serde(default)]
        fork_signaling: u64,
        #[serde(default)]
        parent_base_fee: TokenJson,
    }

    /// A ticket.
    TicketJson {
        #[serde(rename = "VRFProof")]
        vrf_proof: Base64,
    }

    /// An election proof.
    ElectionProofJson {
        win_count: i64,
        #[serde(rename = "VRFProof")]
        vrf_proof: Base64,
    }

    /// An entry of the beacon.
    BeaconEntryJson {
        round: u64,
        data: Base64,
    }

    /// A PoSt proof.
    PoStProofJson {
        #[serde(rename = "PoStProof")]
        post_proof: i64,
        proof_bytes: Base64,
    }

    /// A signature: type 1 is secp256k1, 2 is BLS.
    SignatureJson {
        r#type: u8,
        data: Base64,
    }

    /// A message. Its CID is emitted by nodes and ignored on input.
    MessageJson {
        #[serde(default)]
        version: u64,
        to: AddressJson,
        from: AddressJson,
        #[serde(default)]
        nonce: u64,
        #[serde(default)]
        value: TokenJson,
        #[serde(default)]
        gas_limit: i64,
        #[serde(default)]
        gas_fee_cap: TokenJson,
        #[serde(default)]
        gas_premium: TokenJson,
        #[serde(default)]
        method: u64,
        #[serde(default)]
        params: Base64,
        #[serde(default, rename = "CID", skip_serializing_if = "Option::is_none")]
        cid: Option<CidJson>,
    }

    /// A signed message.
    SignedMessageJson {
        message: MessageJson,
        signature: SignatureJson,
        #[serde(default, rename = "CID", skip_serializing_if = "Option::is_none")]
        cid: Option<CidJson>,
    }

    /// The spec argument of `GasEstimateMessageGas`.
    MessageSpecJson {
        max_fee: TokenJson,
    }

    /// `StateGetNetworkParams`.
    NetworkParamsJson {
        network_name: String,
        block_delay_secs: u64,
        #[serde(default)]
        consensus_miner_min_power: TokenJson,
        pre_commit_challenge_delay: i64,
        #[serde(default, rename = "Eip155ChainID")]
        eip155_chain_id: u64,
        #[serde(default)]
        genesis_timestamp: u64,
    }

    /// `StateGetActor`.
    ActorStateJson {
        code: CidJson,
        head: CidJson,
        nonce: u64,
        balance: TokenJson,
        #[serde(default)]
        delegated_address: Option<AddressJson>,
    }

    /// `StateMinerInfo`. `NewWorker` is `"<empty>"` when there is none, so it stays text.
    MinerInfoJson {
        owner: AddressJson,
        worker: AddressJson,
        #[serde(default)]
        new_worker: String,
        #[serde(default, deserialize_with = "null_as_empty")]
        control_addresses: Vec<AddressJson>,
        #[serde(default)]
        worker_change_epoch: i64,
        #[serde(default)]
        peer_id: Option<String>,
        #[serde(default, deserialize_with = "null_as_empty")]
        multiaddrs: Vec<Base64>,
        #[serde(rename = "WindowPoStProofType")]
        window_post_proof_type: i64,
        sector_size: u64,
        #[serde(rename = "WindowPoStPartitionSectors")]
        window_post_partition_sectors: u64,
        #[serde(default)]
        consensus_fault_elapsed: i64,
        #[serde(default)]
        pending_owner_address: Option<AddressJson>,
        #[serde(default)]
        beneficiary: Option<AddressJson>,
    }

    /// Raw and quality-adjusted power.
    ClaimJson {
        raw_byte_power: TokenJson,
        quality_adj_power: TokenJson,
    }

    /// `StateMinerPower`.
    MinerPowerJson {
        miner_power: ClaimJson,
        total_power: ClaimJson,
        has_min_power: bool,
    }

    /// `StateMinerProvingDeadline`.
    ProvingDeadlineJson {
        current_epoch: i64,
        period_start: i64,
        index: u64,
        open: i64,
        close: i64,
        challenge: i64,
        fault_cutoff: i64,
        #[serde(rename = "WPoStPeriodDeadlines")]
        wpost_period_deadlines: u64,
        #[serde(rename = "WPoStProvingPeriod")]
        wpost_proving_period: i64,
        #[serde(rename = "WPoStChallengeWindow")]
        wpost_challenge_window: i64,
        #[serde(rename = "WPoStChallengeLookback")]
        wpost_challenge_lookback: i64,
        fault_declaration_cutoff: i64,
    }

    /// One of `StateMinerDeadlines`.
    DeadlineJson {
        post_submissions: BitFieldJson,
        #[serde(default)]
        disputable_proof_count: u64,
        #[serde(default)]
        daily_fee: TokenJson,
    }

    /// One of `StateMinerPartitions`.
    PartitionJson {
        all_sectors: BitFieldJson,
        faulty_sectors: BitFieldJson,
        recovering_sectors: BitFieldJson,
        live_sectors: BitFieldJson,
        active_sectors: BitFieldJson,
    }

    /// `StateSectorGetInfo`, and the members of `StateMinerSectors`.
    SectorInfoJson {
        sector_number: u64,
        seal_proof: i64,
        #[serde(rename = "SealedCID")]
        sealed_cid: CidJson,
        activation: i64,
        expiration: i64,
        #[serde(default)]
        deal_weight: TokenJson,
        #[serde(default)]
        verified_deal_weight: TokenJson,
        #[serde(default)]
        initial_pledge: TokenJson,
        #[serde(default)]
        power_base_epoch: i64,
        #[serde(default, rename = "SectorKeyCID")]
        sector_key_cid: Option<CidJson>,
        #[serde(default)]
        flags: u64,
        #[serde(default)]
        daily_fee: TokenJson,
    }

    /// `SectorPreCommitInfo`, sent and returned.
    PreCommitInfoJson {
        seal_proof: i64,
        sector_number: u64,
        #[serde(rename = "SealedCID")]
        sealed_cid: CidJson,
        seal_rand_epoch: i64,
        #[serde(default, rename = "DealIDs", deserialize_with = "null_as_empty")]
        deal_ids: Vec<u64>,
        expiration: i64,
        #[serde(default)]
        unsealed_cid: Option<CidJson>,
    }

    /// `StateSectorPreCommitInfo`.
    PreCommitOnChainJson {
        info: PreCommitInfoJson,
        pre_commit_deposit: TokenJson,
        pre_commit_epoch: i64,
    }

    /// `StateSectorPartition`.
    SectorLocationJson {
        deadline: u64,
        partition: u64,
    }

    /// `StateSectorExpiration`.
    SectorExpirationJson {
        on_time: i64,
        early: i64,
    }

    /// `StateMinerSectorCount`.
    SectorCountJson {
        live: u64,
        active: u64,
        faulty: u64,
    }

    /// A receipt.
    ReceiptJson {
        exit_code: u32,
        #[serde(default)]
        r#return: Base64,
        gas_used: i64,
        #[serde(default)]
        events_root: Option<CidJson>,
    }

    /// `StateSearchMsg`.
    MsgLookupJson {
        message: CidJson,
        receipt: ReceiptJson,
        #[serde(default, rename = "TipSet", deserialize_with = "null_as_empty")]
        tipset: Vec<CidJson>,
        height: i64,
    }

    /// `StateCall`, by what is used of it.
    InvocResultJson {
        msg_cid: CidJson,
        msg: MessageJson,
        msg_rct: Option<ReceiptJson>,
        #[serde(default)]
        error: String,
        #[serde(default)]
        duration: i64,
    }

    /// One of `ChainGetParentMessages`.
    ApiMessageJson {
        cid: CidJson,
        message: MessageJson,
    }

    /// One of `ChainNotify`: `current`, `apply` or `revert`.
    HeadChangeJson {
        r#type: String,
        val: TipSetJson,
    }
}

/// A shape with a value the chain cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadShape(pub String);

impl MessageJson {
    /// The shape of a message, without its CID.
    pub fn of(message: &Message) -> Result<Self, BadShape> {
        Ok(Self {
            version: message.version,
            to: message.to.into(),
            from: message.from.into(),
            nonce: message.sequence,
            value: message.value.clone().into(),
            gas_limit: i64::try_from(message.gas_limit).map_err(|_| BadShape("gas limit above 2^63".to_owned()))?,
            gas_fee_cap: message.gas_fee_cap.clone().into(),
            gas_premium: message.gas_premium.clone().into(),
            method: message.method_num,
            params: message.params.to_vec().into(),
            cid: None,
        })
    }

    /// The message.
    pub fn into_message(self) -> Result<Message, BadShape> {
        Ok(Message {
            version: self.version,
            from: self.from.0,
            to: self.to.0,
            sequence: self.nonce,
            value: self.value.0,
            method_num: self.method,
            params: self.params.0.into(),
            gas_limit: u64::try_from(self.gas_limit)
                .map_err(|_| BadShape(format!("gas limit {} is negative", self.gas_limit)))?,
            gas_fee_cap: self.gas_fee_cap.0,
            gas_premium: self.gas_premium.0,
        })
    }
}

impl PreCommitInfoJson {
    /// The shape of a pre-commit.
    #[must_use]
    pub fn of(info: &SectorPreCommitInfo) -> Self {
        Self {
            seal_proof: info.seal_proof.into(),
            sector_number: info.sector_number,
            sealed_cid: info.sealed_cid.into(),
            seal_rand_epoch: info.seal_rand_epoch,
            deal_ids: info.deal_ids.clone(),
            expiration: info.expiration,
            unsealed_cid: info.unsealed_cid.0.map(CidJson),
        }
    }
}

impl SignatureJson {
    /// The shape of a signature.
    #[must_use]
    pub fn of(signature: &Signature) -> Self {
        let r#type = match signature.sig_type {
            SignatureType::Secp256k1 => 1,
            SignatureType::BLS => 2,
        };
        Self { r#type, data: signature.bytes.clone().into() }
    }

    /// The signature.
    pub fn into_signature(self) -> Result<Signature, BadShape> {
        match self.r#type {
            1 => Ok(Signature::new_secp256k1(self.data.0)),
            2 => Ok(Signature::new_bls(self.data.0)),
            other => Err(BadShape(format!("signature type {other} is not 1 (secp256k1) or 2 (BLS)"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_that_nodes_were_seen_to_send_are_read() {
        let info: MinerInfoJson = serde_json::from_str(
            r#"{"Owner":"t0100","Worker":"t0100","NewWorker":"<empty>","ControlAddresses":null,"WorkerChangeEpoch":-1,
                "PeerId":null,"Multiaddrs":null,"WindowPoStProofType":10,"SectorSize":2048,
                "WindowPoStPartitionSectors":2,"ConsensusFaultElapsed":-1,"PendingOwnerAddress":null,
                "Beneficiary":"t0100","PendingBeneficiaryTerm":null}"#,
        )
        .unwrap();
        assert_eq!(info.control_addresses, []);
        let lookup: MsgLookupJson = serde_json::from_str(
            r#"{"Message":{"/":"bafy2bzacecnamqgqmifpluoeldx7zzglxcljo6oja4vrmtj7432rphldpdmm2"},
                "Receipt":{"ExitCode":0,"Return":null,"GasUsed":9,"EventsRoot":null},"ReturnDec":null,"TipSet":null,"Height":7}"#,
        )
        .unwrap();
        assert_eq!(lookup.receipt.r#return, Base64::default());
        let pre: PreCommitInfoJson = serde_json::from_str(
            r#"{"SealProof":5,"SectorNumber":9,"SealedCID":{"/":"bagboea4b5abcatlxechwbp7kjpjguna6r6q7ejrhe6mdp3lf34pmswn27pkkiekz"},
                "SealRandEpoch":-3,"DealIDs":null,"Expiration":2,"UnsealedCid":null}"#,
        )
        .unwrap();
        assert_eq!((pre.deal_ids.len(), pre.seal_rand_epoch), (0, -3));
    }
}
