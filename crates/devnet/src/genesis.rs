//! What a chain starts from. Two chains of one genesis and the same messages at the same epochs are equal.

use chain::policy::NetworkPolicy;
use fvm_shared::{address::Address, econ::TokenAmount};
use serde::{Deserialize, Serialize};
use streams::proof::SealProof;

use crate::{
    blocks::Blocks,
    call::{Call, Observed, World},
    economy::Economy,
    ledger::{Kind, Ledger},
    miner::{self, PresealedSector},
    randomness::Draws,
    rules::{Preset, Rules},
};

/// The first miner's ID; accounts of genesis lie below.
const FIRST_MINER: u64 = 1_000;
/// The first account's ID.
const FIRST_ACCOUNT: u64 = 100;

/// A miner with sectors that are active from the start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenesisMiner {
    /// Its owner, an account of genesis.
    pub owner: Address,
    /// Its worker, an account of genesis with a BLS key.
    pub worker: Address,
    /// The seal proof type of its sectors.
    pub proof: SealProof,
    /// Its funds; they must cover the pledge.
    pub funds: TokenAmount,
    /// Its sectors.
    pub sectors: Vec<PresealedSector>,
}

/// The beginning of a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Genesis {
    /// The network's name.
    pub network: String,
    /// Its numbers.
    pub row: NetworkPolicy,
    /// Whether a window PoSt that does not verify is refused at once.
    pub strict_posts: bool,
    /// All randomness follows from it.
    pub seed: [u8; 32],
    /// Seconds since the Unix epoch at height 0.
    pub timestamp: u64,
    /// Funded accounts.
    pub accounts: Vec<(Address, TokenAmount)>,
    /// Miners, `f01000` first.
    pub miners: Vec<GenesisMiner>,
}

impl Genesis {
    /// An empty chain of a preset.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        Self {
            network: preset.network_name().to_owned(),
            row: preset.row(),
            strict_posts: true,
            seed: chain::randomness::blake2b_256(b"sealstream devnet"),
            timestamp: 1_598_306_400,
            accounts: vec![],
            miners: vec![],
        }
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules::new(self.network.clone(), self.row.clone(), self.strict_posts)
    }

    /// The first state.
    pub(crate) fn ledger(&self, blocks: &Blocks, rules: &Rules, economy: &Economy) -> anyhow::Result<Ledger> {
        let mut ledger = Ledger::new(FIRST_ACCOUNT);
        for (address, amount) in &self.accounts {
            let id = ledger
                .resolve_or_create_account(address)
                .ok_or_else(|| anyhow::anyhow!("{} is not the address of a key", chain::address::print(address)))?;
            ledger.mint(id, amount);
        }
        ledger.skip_ids_to(FIRST_MINER);
        let draws = Draws { seed: &self.seed, tipsets: &[] };
        let world = World { blocks, rules, economy, verifier: &NoProofs, draws, epoch: 0 };
        for new in &self.miners {
            let owner = ledger
                .resolve(&new.owner)
                .filter(|id| ledger.actor(*id).is_some_and(|actor| actor.kind == Kind::Account))
                .ok_or_else(|| anyhow::anyhow!("owner {} is not an account", chain::address::print(&new.owner)))?;
            let mut observed = Observed::default();
            let mut call = Call {
                world: &world,
                ledger: &mut ledger,
                from: 0,
                to: 0,
                value: TokenAmount::default(),
                observed: &mut observed,
            };
            miner::preseal(&mut call, owner, &new.worker, new.proof, &new.funds, &new.sectors)
                .map_err(|e| anyhow::anyhow!("presealed miner: {}", e.msg()))?;
        }
        Ok(ledger)
    }
}

/// Genesis proves nothing.
struct NoProofs;

impl prover::Verifier for NoProofs {
    fn seal(&self, _: &prover::SealStatement, _: &[u8]) -> Result<bool, prover::VerifyError> {
        Ok(false)
    }

    fn aggregate(&self, _: &[prover::SealStatement], _: &[u8]) -> Result<bool, prover::VerifyError> {
        Ok(false)
    }

    fn window_post(&self, _: &prover::WindowPostStatement, _: &[u8]) -> Result<bool, prover::VerifyError> {
        Ok(false)
    }
}
