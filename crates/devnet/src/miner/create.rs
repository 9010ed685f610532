//! `CreateMiner` of the power actor, and the miner's constructor.

use fil_actor_miner_state::v18::{MinerInfo, REWARD_VESTING_SPEC, State};
use fil_actor_power_state::v18::{Claim, CreateMinerParams, CreateMinerReturn};
use fil_actors_shared::{
    actor_error_v18,
    v18::{ActorError, runtime::Policy},
};
use fvm_ipld_encoding::{CborStore as _, RawBytes};
use fvm_shared::{
    ActorID,
    address::{Address, Protocol},
    bigint::BigInt,
    clock::ChainEpoch,
    econ::TokenAmount,
    error::ExitCode,
    sector::RegisteredPoStProof,
};
use multihash_codetable::Code;

use crate::{
    call::{Call, illegal_state},
    ledger::{Kind, Ledger},
};

/// Creates a miner with the value the message sent, which covers the creation deposit (FIP-0077).
pub(crate) fn create_miner(call: &mut Call<'_>, params: CreateMinerParams) -> Result<RawBytes, ActorError> {
    check_peer(&call.world.rules.policy, &params)?;
    check_post_proof(&call.world.rules.policy, params.window_post_proof_type)?;
    let deposit = call.world.economy.creation_deposit(&call.ledger.circulating());
    if call.value < deposit {
        return Err(actor_error_v18!(
            insufficient_funds,
            "not enough balance to lock for create miner deposit: sent balance {} < deposit {}",
            call.value.atto(),
            deposit.atto()
        ));
    }
    let owner = call
        .ledger
        .resolve(&params.owner)
        .ok_or_else(|| actor_error_v18!(illegal_argument, "unable to resolve owner address: {}", params.owner))?;
    let worker = worker_id(call.ledger, &params.worker)?;
    let new = NewMiner {
        owner,
        worker,
        proof: params.window_post_proof_type,
        peer: params.peer,
        multiaddrs: params.multiaddrs,
        deposit,
    };
    let robust = Address::new_actor(&robust_seed(call));
    let (power, value) = (call.to, call.value.clone());
    let miner = construct(call, new, robust)?;
    call.ledger
        .transfer(power, miner, &value)
        .map_err(|e| ActorError::unchecked(ExitCode::SYS_INSUFFICIENT_FUNDS, e.to_string()))?;
    super::write(&CreateMinerReturn { id_address: Address::new_id(miner), robust_address: robust })
}

/// A miner to be.
pub(super) struct NewMiner {
    pub(super) owner: ActorID,
    pub(super) worker: ActorID,
    pub(super) proof: RegisteredPoStProof,
    pub(super) peer: Vec<u8>,
    pub(super) multiaddrs: Vec<fvm_ipld_encoding::BytesDe>,
    /// Locked from the start.
    pub(super) deposit: TokenAmount,
}

pub(super) fn construct(call: &mut Call<'_>, new: NewMiner, robust: Address) -> Result<ActorID, ActorError> {
    let (policy, blocks, epoch) = (&call.world.rules.policy, call.world.blocks, call.world.epoch);
    let miner = Address::new_id(call.ledger.next_id());
    let period_start = period_start(policy, epoch, proving_period_offset(policy, miner, epoch)?);
    let deadline = u64::try_from((epoch - period_start) / policy.wpost_challenge_window)
        .map_err(|_| actor_error_v18!(illegal_state, "proving period starts after the current epoch"))?;
    let info = MinerInfo::new(new.owner, new.worker, vec![], new.peer, new.multiaddrs, new.proof)?;
    let info = blocks.put_cbor(&info, Code::Blake2b256).map_err(illegal_state("store miner info"))?;
    let mut state = State::new(policy, blocks, info, period_start, deadline)?;
    state
        .add_locked_funds(blocks, epoch, &new.deposit, &REWARD_VESTING_SPEC)
        .map_err(illegal_state("lock the creation deposit"))?;
    let head = blocks.put_cbor(&state, Code::Blake2b256).map_err(illegal_state("store miner state"))?;
    let id = call.ledger.create(Kind::Miner, robust, head);
    call.ledger.add_pledge(&new.deposit);
    let nothing = BigInt::from(0);
    let claim =
        Claim { window_post_proof_type: new.proof, raw_byte_power: nothing.clone(), quality_adj_power: nothing };
    call.ledger.set_claim(id, claim);
    Ok(id)
}

/// The worker signs blocks, so its key must be BLS.
pub(super) fn worker_id(ledger: &Ledger, worker: &Address) -> Result<ActorID, ActorError> {
    let id = ledger
        .resolve(worker)
        .ok_or_else(|| actor_error_v18!(illegal_argument, "unable to resolve address: {}", worker))?;
    let Some(key) = ledger.key_of(&Address::new_id(id)) else {
        return Err(actor_error_v18!(illegal_argument, "worker actor type must be an account"));
    };
    if key.protocol() != Protocol::BLS {
        return Err(actor_error_v18!(
            illegal_argument,
            "worker account {} must have BLS pubkey, was {}",
            id,
            key.protocol()
        ));
    }
    Ok(id)
}

fn check_peer(policy: &Policy, params: &CreateMinerParams) -> Result<(), ActorError> {
    if params.peer.len() > policy.max_peer_id_length {
        return Err(actor_error_v18!(
            illegal_argument,
            "peer ID size of {} exceeds maximum size of {}",
            params.peer.len(),
            policy.max_peer_id_length
        ));
    }
    if params.multiaddrs.iter().any(|address| address.0.is_empty()) {
        return Err(actor_error_v18!(illegal_argument, "invalid empty multiaddr"));
    }
    let size: usize = params.multiaddrs.iter().map(|address| address.0.len()).sum();
    if size > policy.max_multiaddr_data {
        return Err(actor_error_v18!(
            illegal_argument,
            "multiaddr size of {} exceeds maximum of {}",
            size,
            policy.max_multiaddr_data
        ));
    }
    Ok(())
}

/// Whether miners may prove with this type of window PoSt.
pub(super) fn check_post_proof(policy: &Policy, proof: RegisteredPoStProof) -> Result<(), ActorError> {
    if !matches!(proof, RegisteredPoStProof::Invalid(_)) && policy.valid_post_proof_type.contains(proof) {
        return Ok(());
    }
    Err(actor_error_v18!(illegal_argument, "proof type {:?} not allowed for new miner actors", proof))
}

fn robust_seed(call: &Call<'_>) -> Vec<u8> {
    let sender = call.ledger.actor(call.from);
    let key = sender.and_then(|actor| actor.robust).unwrap_or_else(|| Address::new_id(call.from));
    let nonce = sender.map_or(0, |actor| actor.nonce);
    [key.to_bytes().as_slice(), &nonce.to_be_bytes(), &0u64.to_be_bytes()].concat()
}

/// Spreads miners over the proving period by a hash of their address and birth.
fn proving_period_offset(policy: &Policy, miner: Address, epoch: ChainEpoch) -> Result<ChainEpoch, ActorError> {
    let mut bytes = fvm_ipld_encoding::to_vec(&miner)?;
    bytes.extend_from_slice(&epoch.to_be_bytes());
    let digest = chain::randomness::blake2b_256(&bytes);
    let Some(first) = digest.first_chunk::<8>() else { return Ok(0) };
    let period = u64::try_from(policy.wpost_proving_period).unwrap_or(1);
    Ok(ChainEpoch::try_from(u64::from_be_bytes(*first) % period).unwrap_or(0))
}

const fn period_start(policy: &Policy, epoch: ChainEpoch, offset: ChainEpoch) -> ChainEpoch {
    let modulus = epoch % policy.wpost_proving_period;
    let progress = if modulus >= offset { modulus - offset } else { policy.wpost_proving_period - (offset - modulus) };
    epoch - progress
}
