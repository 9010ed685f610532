//! Questions about sectors.

use chain::{
    json::{AddressJson, BitFieldJson},
    wire::{PreCommitInfoJson, PreCommitOnChainJson, SectorExpirationJson, SectorInfoJson, SectorLocationJson},
};
use fil_actor_miner_state::v18::{Partition, SectorOnChainInfo};
use fvm_ipld_bitfield::BitField;
use fvm_ipld_encoding::CborStore as _;
use fvm_shared::econ::TokenAmount;
use serde_json::Value;

use super::{
    error::RpcError,
    miner_methods::{union, with_miner},
    request::{Args, Key, Version, answer},
    view::{MinerView, View},
};
use crate::devnet::Devnet;

/// Answers the methods of this group; `None` for any other.
pub(crate) fn call(devnet: &Devnet, name: &str, args: Args<'_>) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "StateSectorGetInfo" => with_sector(devnet, args, |view, miner, number| {
            let sector = miner.state.get_sector(&view.devnet.blocks, number).map_err(|e| RpcError::plain(e.msg()))?;
            answer(sector.as_ref().map(shape))
        }),
        "StateSectorPreCommitInfo" => pre_commit(devnet, args),
        "StateSectorPartition" => with_sector(devnet, args, |view, miner, number| {
            let (deadline, partition) = miner.state.find_sector(&view.devnet.blocks, number)?;
            answer(SectorLocationJson { deadline, partition })
        }),
        "StateSectorExpiration" => with_sector(devnet, args, |view, miner, number| {
            let sector = miner.state.get_sector(&view.devnet.blocks, number).map_err(|e| RpcError::plain(e.msg()))?;
            let on_time = sector.ok_or_else(|| RpcError::plain(format!("sector {number} not found")))?.expiration;
            answer(SectorExpirationJson { on_time, early: 0 })
        }),
        "StateMinerSectorAllocated" => {
            with_sector(devnet, args, |view, miner, number| answer(allocated(view, miner)?.get(number)))
        }
        "StateMinerAllocated" if args.version == Version::V1 => {
            with_miner(devnet, args, |view, miner| answer(BitFieldJson(allocated(view, miner)?)))
        }
        "StateMinerSectors" => sectors(devnet, args),
        "StateMinerActiveSectors" => with_miner(devnet, args, |view, miner| {
            let active = union(view, miner, Partition::active_sectors)?;
            answer(filtered(view, miner, Some(&active))?)
        }),
        _ => return None,
    })
}

fn with_sector(
    devnet: &Devnet,
    args: Args<'_>,
    query: impl FnOnce(&View<'_>, &MinerView, u64) -> Result<Value, RpcError>,
) -> Result<Value, RpcError> {
    let (address, number, key) = args.read::<(AddressJson, u64, Key)>(3)?;
    let view = View::at(devnet, &key)?;
    let miner = view.miner(&address.0)?;
    query(&view, &miner, number)
}

fn pre_commit(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let version = args.version;
    with_sector(devnet, args, |view, miner, number| {
        let found =
            miner.state.get_precommitted_sector(&view.devnet.blocks, number).map_err(|e| RpcError::plain(e.msg()))?;
        if found.is_none() && version == Version::V0 {
            return Err(RpcError::plain("precommit info is not exists"));
        }
        answer(found.map(|pre_commit| PreCommitOnChainJson {
            info: PreCommitInfoJson::of(&pre_commit.info),
            pre_commit_deposit: pre_commit.pre_commit_deposit.into(),
            pre_commit_epoch: pre_commit.pre_commit_epoch,
        }))
    })
}

fn allocated(view: &View<'_>, miner: &MinerView) -> Result<BitField, RpcError> {
    let found = view.devnet.blocks.get_cbor(&miner.state.allocated_sectors)?;
    found.ok_or_else(|| RpcError::plain("allocated sectors are not in the block store"))
}

fn sectors(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (address, filter, key) = args.read::<(AddressJson, Option<BitFieldJson>, Key)>(3)?;
    let view = View::at(devnet, &key)?;
    let miner = view.miner(&address.0)?;
    answer(filtered(&view, &miner, filter.as_ref().map(|bits| &bits.0))?)
}

fn filtered(view: &View<'_>, miner: &MinerView, filter: Option<&BitField>) -> Result<Vec<SectorInfoJson>, RpcError> {
    let mut shapes = Vec::new();
    miner.state.for_each_sector(&view.devnet.blocks, |sector| {
        if filter.is_none_or(|bits| bits.get(sector.sector_number)) {
            shapes.push(shape(sector));
        }
        Ok(())
    })?;
    Ok(shapes)
}

fn shape(sector: &SectorOnChainInfo) -> SectorInfoJson {
    SectorInfoJson {
        sector_number: sector.sector_number,
        seal_proof: sector.seal_proof.into(),
        sealed_cid: sector.sealed_cid.into(),
        activation: sector.activation,
        expiration: sector.expiration,
        deal_weight: TokenAmount::from_atto(sector.deal_weight.clone()).into(),
        verified_deal_weight: TokenAmount::from_atto(sector.verified_deal_weight.clone()).into(),
        initial_pledge: sector.initial_pledge.clone().into(),
        power_base_epoch: sector.power_base_epoch,
        sector_key_cid: sector.sector_key_cid.map(Into::into),
        flags: u64::from(sector.flags.bits()),
        daily_fee: sector.daily_fee.clone().into(),
    }
}
