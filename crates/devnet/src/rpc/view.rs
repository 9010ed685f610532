//! What a query sees: a tipset of the chain, and the state before its messages.

use fil_actor_miner_state::v18::{MinerInfo, State};
use fvm_shared::{ActorID, address::Address, clock::ChainEpoch};

use super::{error::RpcError, request::Key};
use crate::{devnet::Devnet, ledger::Ledger, miner, randomness::Draws, tipset::Tipset};

pub(crate) struct View<'a> {
    pub(crate) devnet: &'a Devnet,
    /// From genesis to the tipset that was asked for.
    pub(crate) tipsets: &'a [Tipset],
    pub(crate) tipset: &'a Tipset,
    pub(crate) ledger: Ledger,
}

/// A miner in a view.
pub(crate) struct MinerView {
    pub(crate) id: ActorID,
    pub(crate) state: State,
    pub(crate) info: MinerInfo,
}

impl<'a> View<'a> {
    pub(crate) fn at(devnet: &'a Devnet, key: &Key) -> Result<Self, RpcError> {
        let tipsets = devnet.up_to(&key.cids())?;
        let tipset = tipsets.last().ok_or_else(|| RpcError::plain("the chain has no genesis"))?;
        let ledger = Ledger::load(&devnet.blocks, &tipset.header.parent_state_root)?;
        Ok(Self { devnet, tipsets, tipset, ledger })
    }

    pub(crate) const fn epoch(&self) -> ChainEpoch {
        self.tipset.header.height
    }

    pub(crate) const fn draws(&self) -> Draws<'a> {
        Draws { seed: &self.devnet.genesis.seed, tipsets: self.tipsets }
    }

    pub(crate) fn id(&self, address: &Address) -> Result<ActorID, RpcError> {
        self.ledger.resolve(address).ok_or_else(|| {
            let text = chain::address::print(address);
            RpcError::actor_not_found(format!(
                "resolution lookup failed ({text}): resolve address {text}: actor not found"
            ))
        })
    }

    pub(crate) fn miner(&self, address: &Address) -> Result<MinerView, RpcError> {
        let id = self.id(address)?;
        let blocks = &self.devnet.blocks;
        let state = miner::state_of(&self.ledger, blocks, id)
            .map_err(|e| RpcError::plain(format!("failed to load miner actor state: {e:#}")))?;
        let info = state.get_info(blocks)?;
        Ok(MinerView { id, state, info })
    }
}
