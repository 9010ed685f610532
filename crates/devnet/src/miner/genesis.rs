//! Miners that exist from the start, with sectors whose replicas are real and whose PoRep is not proven again.

use chain::cids;
use fil_actor_miner_state::v18::{
    CollisionPolicy, CompactCommD, PowerPair, SectorPreCommitInfo, SectorPreCommitOnChainInfo,
};
use fil_actors_shared::{actor_error_v18, v18::ActorError};
use fvm_ipld_bitfield::BitField;
use fvm_shared::{
    ActorID,
    address::Address,
    bigint::BigInt,
    clock::ChainEpoch,
    econ::TokenAmount,
    sector::{RegisteredPoStProof, RegisteredSealProof},
};
use serde::{Deserialize, Serialize};
use streams::{
    id::SectorNumber,
    proof::{Commitment, SealProof},
};

use super::{activation, create, info, load, save};
use crate::call::{Call, illegal_state};

/// A sector that is active in genesis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresealedSector {
    /// Its number.
    pub number: SectorNumber,
    /// CommR of its replica.
    pub comm_r: Commitment,
    /// CommD; absent in a sector of zeros.
    pub comm_d: Option<Commitment>,
    /// Expiration.
    pub expiration: ChainEpoch,
}

/// Creates a miner with `sectors` active, in partitions as the actor assigns them. The call's own actor pays what the
/// miner must hold.
pub(crate) fn preseal(
    call: &mut Call<'_>,
    owner: ActorID,
    worker: &Address,
    proof: SealProof,
    funds: &TokenAmount,
    sectors: &[PresealedSector],
) -> Result<ActorID, ActorError> {
    let worker = create::worker_id(call.ledger, worker)?;
    let new = create::NewMiner {
        owner,
        worker,
        proof: RegisteredPoStProof::from(proof.window_post_number()),
        peer: vec![],
        multiaddrs: vec![],
        deposit: TokenAmount::default(),
    };
    let robust = Address::new_actor(&call.ledger.next_id().to_be_bytes());
    let miner = create::construct(call, new, robust)?;
    call.ledger.mint(miner, funds);
    call.to = miner;
    if !sectors.is_empty() {
        add_sectors(call, proof, sectors)?;
    }
    Ok(miner)
}

fn add_sectors(call: &mut Call<'_>, proof: SealProof, sectors: &[PresealedSector]) -> Result<(), ActorError> {
    let blocks = call.world.blocks;
    let numbers = BitField::try_from_bits(sectors.iter().map(|sector| sector.number.0))
        .map_err(|e| actor_error_v18!(illegal_argument, e))?;
    let pre_commits = sectors.iter().map(|sector| pre_commit(proof, sector)).collect::<Result<Vec<_>, _>>()?;
    let mut state = load(call)?;
    state.allocate_sector_numbers(blocks, &numbers, CollisionPolicy::DenyCollisions)?;
    state.put_precommitted_sectors(blocks, pre_commits.clone()).map_err(illegal_state("put presealed sectors"))?;
    state.deadline_cron_active = true;
    save(call, &state)?;
    let info = info(call, &state)?;
    let proven: Vec<_> = pre_commits.iter().map(|sector| (sector, BigInt::from(0))).collect();
    activation::activate(call, &info, &proven)?;
    prove_all(call)
}

fn pre_commit(proof: SealProof, sector: &PresealedSector) -> Result<SectorPreCommitOnChainInfo, ActorError> {
    let bad = |e: cids::BadCid| actor_error_v18!(illegal_argument, e);
    let unsealed = sector.comm_d.as_ref().map(cids::unsealed).transpose().map_err(bad)?;
    Ok(SectorPreCommitOnChainInfo {
        info: SectorPreCommitInfo {
            seal_proof: RegisteredSealProof::from(proof.number()),
            sector_number: sector.number.0,
            sealed_cid: cids::sealed(&sector.comm_r).map_err(bad)?,
            seal_rand_epoch: 0,
            deal_ids: vec![],
            expiration: sector.expiration,
            unsealed_cid: CompactCommD::new(unsealed),
        },
        pre_commit_deposit: TokenAmount::default(),
        pre_commit_epoch: 0,
    })
}

/// Gives every sector its power, as if each had been proven once: elections draw from active sectors only.
fn prove_all(call: &mut Call<'_>) -> Result<(), ActorError> {
    let (policy, blocks) = (&call.world.rules.policy, call.world.blocks);
    let mut state = load(call)?;
    let mut deadlines = state.load_deadlines(blocks)?;
    let mut power = PowerPair::zero();
    for index in 0..policy.wpost_period_deadlines {
        let mut deadline = deadlines.load_deadline(blocks, index)?;
        let mut partitions = deadline.partitions_amt(blocks).map_err(illegal_state("load partitions"))?;
        for at in 0..partitions.count() {
            let mut partition = deadline.load_partition(blocks, at)?;
            power += &partition.activate_unproven();
            partitions.set(at, partition).map_err(|e| actor_error_v18!(illegal_state, e))?;
        }
        deadline.partitions = partitions.flush().map_err(|e| actor_error_v18!(illegal_state, e))?;
        deadlines.update_deadline(policy, blocks, index, &deadline).map_err(illegal_state("store deadline"))?;
    }
    state.save_deadlines(blocks, deadlines).map_err(illegal_state("store deadlines"))?;
    save(call, &state)?;
    call.ledger.add_power(call.to, &power.raw, &power.qa);
    Ok(())
}
