//! Sectors and pre-commits.

use serde::{Deserialize, Serialize};
use streams::id::SectorNumber;

use crate::{
    api::SectorOnChain,
    json::{CidJson, TokenJson, null_as_empty},
    params::SectorPreCommitInfo,
};

shapes! {
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

impl From<SectorInfoJson> for SectorOnChain {
    fn from(info: SectorInfoJson) -> Self {
        Self {
            number: SectorNumber(info.sector_number),
            seal_proof: info.seal_proof,
            sealed_cid: info.sealed_cid.0,
            activation: info.activation,
            expiration: info.expiration,
            initial_pledge: info.initial_pledge.0,
        }
    }
}
