//! The storage miner actor: thin handlers around the real state code of actors v18.
//!
//! A handler checks arguments in the order the actor does, asks for randomness and verification, and moves money; all
//! bookkeeping is `fil_actor_miner_state`. So an exit code here is the exit code there.

mod activation;
mod create;
mod cron;
mod genesis;
mod pieces;
mod pre_commit;
mod prove_commit;
mod recoveries;
mod seal;
mod window_post;

use fil_actor_miner_state::v18::{ERR_BALANCE_INVARIANTS_BROKEN, Method, MinerInfo, State};
use fil_actors_shared::{actor_error_v18, v18::ActorError};
use fvm_ipld_encoding::{CborStore as _, RawBytes};
use fvm_shared::{ActorID, MethodNum, address::Address, clock::ChainEpoch};
use multihash_codetable::Code;
use num_traits::FromPrimitive as _;
use serde::de::DeserializeOwned;

pub(crate) use create::create_miner;
pub(crate) use cron::end_of_epoch;
pub use genesis::PresealedSector;
pub(crate) use genesis::preseal;

use crate::{
    blocks::Blocks,
    call::{Call, illegal_state},
    ledger::{Kind, Ledger},
};

/// Runs a method of a miner.
pub(crate) fn invoke(call: &mut Call<'_>, method: MethodNum, params: &RawBytes) -> Result<RawBytes, ActorError> {
    let unhandled = || actor_error_v18!(unhandled_message, "method {} is not one this chain runs", method);
    match Method::from_u64(method).ok_or_else(unhandled)? {
        Method::SubmitWindowedPoSt => window_post::submit(call, read(params)?)?,
        Method::DeclareFaultsRecovered => recoveries::declare(call, read(params)?)?,
        Method::PreCommitSectorBatch2 => pre_commit::batch(call, read(params)?)?,
        Method::ProveCommitSectors3 => return write(&prove_commit::sectors(call, read(params)?)?),
        _ => return Err(unhandled()),
    }
    Ok(RawBytes::default())
}

/// Reads parameters as the actor does: what is not CBOR of them ends with exit code 21.
pub(crate) fn read<T: DeserializeOwned>(params: &RawBytes) -> Result<T, ActorError> {
    params.deserialize().map_err(|e| actor_error_v18!(serialization, "failed to deserialize params: {}", e))
}

pub(crate) fn write<T: serde::Serialize>(value: &T) -> Result<RawBytes, ActorError> {
    RawBytes::serialize(value).map_err(ActorError::from)
}

/// A miner's state.
pub(crate) fn state_of(ledger: &Ledger, blocks: &Blocks, miner: ActorID) -> anyhow::Result<State> {
    let actor = ledger.actor(miner).filter(|actor| actor.kind == Kind::Miner);
    let actor = actor.ok_or_else(|| anyhow::anyhow!("f0{miner} is not a miner"))?;
    blocks.get_cbor(&actor.head)?.ok_or_else(|| anyhow::anyhow!("state of f0{miner} is not in the block store"))
}

fn load(call: &Call<'_>) -> Result<State, ActorError> {
    state_of(call.ledger, call.world.blocks, call.to).map_err(illegal_state("load miner state"))
}

/// Stores the state. What the state promises must be covered by the actor's funds.
fn save(call: &mut Call<'_>, state: &State) -> Result<(), ActorError> {
    let root = call.world.blocks.put_cbor(state, Code::Blake2b256).map_err(illegal_state("store miner state"))?;
    call.ledger.set_head(call.to, root);
    Ok(())
}

fn check_balance(call: &Call<'_>, state: &State) -> Result<(), ActorError> {
    state
        .check_balance_invariants(&call.balance())
        .map_err(|e| ActorError::unchecked(ERR_BALANCE_INVARIANTS_BROKEN, format!("balance invariants broken: {e}")))
}

fn info(call: &Call<'_>, state: &State) -> Result<MinerInfo, ActorError> {
    state.get_info(call.world.blocks).map_err(illegal_state("could not read miner info"))
}

/// Owner, worker and control addresses may call.
fn check_caller(call: &Call<'_>, info: &MinerInfo) -> Result<(), ActorError> {
    let caller = Address::new_id(call.from);
    if info.control_addresses.iter().chain([&info.worker, &info.owner]).any(|allowed| *allowed == caller) {
        return Ok(());
    }
    Err(actor_error_v18!(forbidden, "caller {} is not one of supported", caller))
}

const fn consensus_fault_active(info: &MinerInfo, epoch: ChainEpoch) -> bool {
    epoch <= info.consensus_fault_elapsed
}
