//! Questions about miners: info, deadlines, partitions, power, money.

use chain::{
    json::{AddressJson, BitFieldJson, TokenJson},
    wire::{
        ClaimJson, DeadlineJson, MinerInfoJson, MinerPowerJson, PartitionJson, PreCommitInfoJson, ProvingDeadlineJson,
        SectorCountJson,
    },
};
use fil_actor_miner_state::v18::{Deadline, DeadlineInfo, Partition, qa_power_for_weight};
use fvm_ipld_bitfield::BitField;
use fvm_shared::{bigint::BigInt, econ::TokenAmount, sector::SectorSize};
use serde_json::Value;
use streams::proof::SealProof;

use super::{
    error::RpcError,
    request::{Args, Key, answer},
    view::{MinerView, View},
};
use crate::devnet::Devnet;

/// Answers the methods of this group; `None` for any other.
pub(crate) fn call(devnet: &Devnet, name: &str, args: Args<'_>) -> Option<Result<Value, RpcError>> {
    Some(match name {
        "StateListMiners" => args
            .read::<(Key,)>(1)
            .and_then(|(key,)| View::at(devnet, &key))
            .and_then(|view| answer(view.ledger.miners().into_iter().map(id_address).collect::<Vec<_>>())),
        "StateMinerInfo" => with_miner(devnet, args, info),
        "StateMinerPower" => power(devnet, args),
        "StateMinerAvailableBalance" => with_miner(devnet, args, available_balance),
        "StateMinerProvingDeadline" => with_miner(devnet, args, proving_deadline),
        "StateMinerDeadlines" => with_miner(devnet, args, deadlines),
        "StateMinerPartitions" => partitions(devnet, args),
        "StateMinerFaults" => with_miner(devnet, args, |view, miner| {
            union(view, miner, |partition| partition.faults.clone()).and_then(|bits| answer(BitFieldJson(bits)))
        }),
        "StateMinerRecoveries" => with_miner(devnet, args, |view, miner| {
            union(view, miner, |partition| partition.recoveries.clone()).and_then(|bits| answer(BitFieldJson(bits)))
        }),
        "StateMinerSectorCount" => with_miner(devnet, args, sector_count),
        "StateMinerCreationDeposit" => creation_deposit(devnet, args),
        "StateMinerInitialPledgeForSector" => pledge_for_sector(devnet, args),
        "StateMinerInitialPledgeCollateral" => pledge_collateral(devnet, args),
        "StateMinerPreCommitDepositForPower" => pre_commit_deposit(devnet, args),
        "StateCirculatingSupply" => args
            .read::<(Key,)>(1)
            .and_then(|(key,)| View::at(devnet, &key))
            .and_then(|view| answer(TokenJson(view.ledger.circulating()))),
        _ => return None,
    })
}

/// A query of a miner at a tipset.
pub(crate) fn with_miner(
    devnet: &Devnet,
    args: Args<'_>,
    query: impl FnOnce(&View<'_>, &MinerView) -> Result<Value, RpcError>,
) -> Result<Value, RpcError> {
    let (address, key) = args.read::<(AddressJson, Key)>(2)?;
    let view = View::at(devnet, &key)?;
    let miner = view.miner(&address.0)?;
    query(&view, &miner)
}

fn id_address(id: u64) -> AddressJson {
    AddressJson(fvm_shared::address::Address::new_id(id))
}

fn info(_: &View<'_>, miner: &MinerView) -> Result<Value, RpcError> {
    let info = &miner.info;
    answer(MinerInfoJson {
        owner: info.owner.into(),
        worker: info.worker.into(),
        new_worker: info
            .pending_worker_key
            .as_ref()
            .map_or_else(|| "<empty>".to_owned(), |key| chain::address::print(&key.new_worker)),
        control_addresses: info.control_addresses.iter().copied().map(AddressJson).collect(),
        worker_change_epoch: info.pending_worker_key.as_ref().map_or(-1, |key| key.effective_at),
        peer_id: None,
        multiaddrs: info.multi_address.iter().map(|address| address.0.clone().into()).collect(),
        window_post_proof_type: info.window_post_proof_type.into(),
        sector_size: bytes(info.sector_size),
        window_post_partition_sectors: info.window_post_partition_sectors,
        consensus_fault_elapsed: info.consensus_fault_elapsed,
        pending_owner_address: info.pending_owner_address.map(AddressJson),
        beneficiary: Some(info.beneficiary.into()),
    })
}

fn power(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (address, key) = args.read::<(AddressJson, Key)>(2)?;
    let view = View::at(devnet, &key)?;
    let claim = view.ledger.claim(view.id(&address.0)?);
    let amount = |power: BigInt| TokenJson(TokenAmount::from_atto(power));
    let (raw, qa) = claim.map(|c| (c.raw_byte_power.clone(), c.quality_adj_power.clone())).unwrap_or_default();
    // Below four miners of consensus size, any power counts.
    let has_min_power = raw > BigInt::from(0);
    let (total_raw, total_qa) = view.ledger.total_power();
    answer(MinerPowerJson {
        miner_power: ClaimJson { raw_byte_power: amount(raw), quality_adj_power: amount(qa) },
        total_power: ClaimJson { raw_byte_power: amount(total_raw), quality_adj_power: amount(total_qa) },
        has_min_power,
    })
}

fn available_balance(view: &View<'_>, miner: &MinerView) -> Result<Value, RpcError> {
    let vested = miner.state.check_vested_funds(&view.devnet.blocks, view.epoch())?;
    let available = miner.state.get_available_balance(&view.ledger.balance(miner.id))?;
    answer(TokenJson(available + vested))
}

fn proving_deadline(view: &View<'_>, miner: &MinerView) -> Result<Value, RpcError> {
    let policy = &view.devnet.rules.policy;
    let now: DeadlineInfo = miner.state.deadline_info(policy, view.epoch()).next_not_elapsed();
    answer(ProvingDeadlineJson {
        current_epoch: now.current_epoch,
        period_start: now.period_start,
        index: now.index,
        open: now.open,
        close: now.close,
        challenge: now.challenge,
        fault_cutoff: now.fault_cutoff,
        wpost_period_deadlines: now.w_post_period_deadlines,
        wpost_proving_period: now.w_post_proving_period,
        wpost_challenge_window: now.w_post_challenge_window,
        wpost_challenge_lookback: now.w_post_challenge_lookback,
        fault_declaration_cutoff: now.fault_declaration_cutoff,
    })
}

fn deadlines(view: &View<'_>, miner: &MinerView) -> Result<Value, RpcError> {
    let blocks = &view.devnet.blocks;
    let mut shapes = Vec::new();
    let all = miner.state.load_deadlines(blocks).map_err(|e| RpcError::plain(e.msg()))?;
    all.for_each(blocks, |_, deadline| {
        shapes.push(DeadlineJson {
            post_submissions: deadline.partitions_posted.clone().into(),
            disputable_proof_count: deadline.optimistic_proofs_snapshot_amt(blocks)?.count(),
            daily_fee: deadline.daily_fee.into(),
        });
        Ok(())
    })?;
    answer(shapes)
}

fn partitions(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (address, index, key) = args.read::<(AddressJson, u64, Key)>(3)?;
    let view = View::at(devnet, &key)?;
    let miner = view.miner(&address.0)?;
    let mut shapes = Vec::new();
    deadline(&view, &miner, index)?.for_each(&devnet.blocks, |_, partition| {
        shapes.push(PartitionJson {
            all_sectors: partition.sectors.clone().into(),
            faulty_sectors: partition.faults.clone().into(),
            recovering_sectors: partition.recoveries.clone().into(),
            live_sectors: partition.live_sectors().into(),
            active_sectors: partition.active_sectors().into(),
        });
        Ok(())
    })?;
    answer(shapes)
}

fn deadline(view: &View<'_>, miner: &MinerView, index: u64) -> Result<Deadline, RpcError> {
    let blocks = &view.devnet.blocks;
    let all = miner.state.load_deadlines(blocks).map_err(|e| RpcError::plain(e.msg()))?;
    all.load_deadline(blocks, index).map_err(|e| RpcError::plain(format!("failed to load the deadline: {}", e.msg())))
}

/// A set of sectors over all partitions.
pub(crate) fn union(
    view: &View<'_>,
    miner: &MinerView,
    of: impl Fn(&Partition) -> BitField,
) -> Result<BitField, RpcError> {
    let blocks = &view.devnet.blocks;
    let mut all = BitField::new();
    let deadlines = miner.state.load_deadlines(blocks).map_err(|e| RpcError::plain(e.msg()))?;
    deadlines.for_each(blocks, |_, deadline| {
        deadline.for_each(blocks, |_, partition| {
            all |= &of(partition);
            Ok(())
        })
    })?;
    Ok(all)
}

fn sector_count(view: &View<'_>, miner: &MinerView) -> Result<Value, RpcError> {
    answer(SectorCountJson {
        live: union(view, miner, Partition::live_sectors)?.len(),
        active: union(view, miner, Partition::active_sectors)?.len(),
        faulty: union(view, miner, |partition| partition.faults.clone())?.len(),
    })
}

fn creation_deposit(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (key,) = args.read::<(Key,)>(1)?;
    let view = View::at(devnet, &key)?;
    answer(TokenJson(devnet.economy.creation_deposit(&view.ledger.circulating())))
}

fn pledge_for_sector(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (duration, size, verified, key) = args.read::<(i64, u64, u64, Key)>(4)?;
    if duration <= 0 {
        return Err(RpcError::plain("sector duration must be greater than 0"));
    }
    pledge(devnet, &key, duration, size, verified)
}

fn pledge_collateral(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (_, info, key) = args.read::<(AddressJson, PreCommitInfoJson, Key)>(3)?;
    let duration = info.expiration - View::at(devnet, &key)?.epoch();
    let proof = SealProof::try_from(info.seal_proof).map_err(RpcError::plain)?;
    pledge(devnet, &key, duration, proof.sector_size(), 0)
}

fn pledge(devnet: &Devnet, key: &Key, duration: i64, size: u64, verified: u64) -> Result<Value, RpcError> {
    let view = View::at(devnet, key)?;
    let weight = BigInt::from(verified) * duration;
    let power = qa_power_for_weight(sector_size(size)?, duration, &weight);
    answer(with_margin(&devnet.economy.initial_pledge(&power, &view.ledger.circulating())))
}

fn pre_commit_deposit(devnet: &Devnet, args: Args<'_>) -> Result<Value, RpcError> {
    let (_, info, _) = args.read::<(AddressJson, PreCommitInfoJson, Key)>(3)?;
    let proof = SealProof::try_from(info.seal_proof).map_err(RpcError::plain)?;
    answer(with_margin(&devnet.economy.pre_commit_deposit(sector_size(proof.sector_size())?)))
}

/// Nodes answer a tenth more than the actor takes now.
fn with_margin(amount: &TokenAmount) -> TokenJson {
    TokenJson((amount * 110).div_floor(100))
}

fn sector_size(bytes: u64) -> Result<SectorSize, RpcError> {
    use SectorSize::{_2KiB, _8MiB, _32GiB, _64GiB, _512MiB};
    match bytes {
        0x800 => Ok(_2KiB),
        0x80_0000 => Ok(_8MiB),
        0x2000_0000 => Ok(_512MiB),
        0x8_0000_0000 => Ok(_32GiB),
        0x10_0000_0000 => Ok(_64GiB),
        _ => Err(RpcError::plain(format!("no sector has {bytes} bytes"))),
    }
}

const fn bytes(size: SectorSize) -> u64 {
    match size {
        SectorSize::_2KiB => 0x800,
        SectorSize::_8MiB => 0x80_0000,
        SectorSize::_512MiB => 0x2000_0000,
        SectorSize::_32GiB => 0x8_0000_0000,
        SectorSize::_64GiB => 0x10_0000_0000,
    }
}
