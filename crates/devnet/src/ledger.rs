//! The state tree: actors, who an address is, and the power each miner claims.
//!
//! A ledger is one value. It is stored as a block, and its CID is the state root: an epoch that changes nothing has
//! its parent's root, and any state the chain ever had can be read again.

use std::collections::BTreeMap;

use cid::Cid;
use fil_actor_power_state::v18::Claim;
use fil_actors_shared::v18::{BURNT_FUNDS_ACTOR_ID, FIRST_NON_SINGLETON_ADDR};
use fvm_ipld_encoding::CborStore as _;
use fvm_shared::{
    ActorID,
    address::{Address, Protocol},
    bigint::BigInt,
    econ::TokenAmount,
};
use multihash_codetable::Code;
use num_traits::Zero as _;
use serde::{Deserialize, Serialize};

use crate::blocks::Blocks;

/// What an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Holds funds and signs.
    Account,
    /// A storage miner.
    Miner,
    /// One of the singletons: power, burnt funds and so on.
    System,
}

impl Kind {
    /// The actor's code CID: an identity hash of its name, as before code was hashed, since no code runs here.
    #[must_use]
    pub fn code(self) -> Cid {
        let name: &[u8] = match self {
            Self::Account => b"fil/18/account",
            Self::Miner => b"fil/18/storageminer",
            Self::System => b"fil/18/system",
        };
        const RAW: u64 = 0x55;
        const IDENTITY: u64 = 0;
        let hash = cid::multihash::Multihash::wrap(IDENTITY, name).unwrap_or_default();
        Cid::new_v1(RAW, hash)
    }
}

/// One actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What it is.
    pub kind: Kind,
    /// Root of its state; a miner's is `State` of actors v18.
    pub head: Cid,
    /// Nonce of its next message.
    pub nonce: u64,
    /// Funds.
    pub balance: TokenAmount,
    /// The address that does not depend on the chain's order: a key, or an actor address.
    pub robust: Option<Address>,
}

/// The state tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ledger {
    next_id: ActorID,
    #[serde(with = "pairs")]
    actors: BTreeMap<ActorID, Actor>,
    #[serde(with = "pairs")]
    ids: BTreeMap<Vec<u8>, ActorID>,
    #[serde(with = "pairs")]
    claims: BTreeMap<ActorID, Claim>,
    pledge_total: TokenAmount,
}

/// A transfer that the sender cannot pay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("f0{from} holds {balance}, less than {amount}")]
pub struct Unpayable {
    from: ActorID,
    balance: TokenAmount,
    amount: TokenAmount,
}

impl Ledger {
    /// The singletons, without funds. `first_id` is the ID of the first actor to be created.
    #[must_use]
    pub fn new(first_id: ActorID) -> Self {
        let singletons = [0, 1, 2, 3, 4, 5, 6, 7, 10, BURNT_FUNDS_ACTOR_ID];
        let system = |id| {
            let kind = if id == BURNT_FUNDS_ACTOR_ID { Kind::Account } else { Kind::System };
            (id, Actor { kind, head: kind.code(), nonce: 0, balance: TokenAmount::zero(), robust: None })
        };
        Self {
            next_id: first_id.max(FIRST_NON_SINGLETON_ADDR),
            actors: singletons.into_iter().map(system).collect(),
            ids: BTreeMap::new(),
            claims: BTreeMap::new(),
            pledge_total: TokenAmount::zero(),
        }
    }

    /// Reads the ledger with this root.
    pub(crate) fn load(blocks: &Blocks, root: &Cid) -> anyhow::Result<Self> {
        blocks.get_cbor(root)?.ok_or_else(|| anyhow::anyhow!("state root {root} is not in the block store"))
    }

    /// Stores the ledger and returns its root.
    pub(crate) fn store(&self, blocks: &Blocks) -> anyhow::Result<Cid> {
        blocks.put_cbor(self, Code::Blake2b256)
    }

    /// The ID of an address, if an actor has it.
    #[must_use]
    pub fn resolve(&self, address: &Address) -> Option<ActorID> {
        match address.id() {
            Ok(id) => self.actors.contains_key(&id).then_some(id),
            Err(_) => self.ids.get(&address.to_bytes()).copied(),
        }
    }

    /// An actor.
    #[must_use]
    pub fn actor(&self, id: ActorID) -> Option<&Actor> {
        self.actors.get(&id)
    }

    /// The key behind an address, when it is an account's.
    #[must_use]
    pub fn key_of(&self, address: &Address) -> Option<Address> {
        match address.protocol() {
            Protocol::Secp256k1 | Protocol::BLS => Some(*address),
            _ => self.actor(self.resolve(address)?).filter(|actor| actor.kind == Kind::Account)?.robust,
        }
    }

    /// Funds of an actor, zero when there is none.
    #[must_use]
    pub fn balance(&self, id: ActorID) -> TokenAmount {
        self.actor(id).map(|actor| actor.balance.clone()).unwrap_or_default()
    }

    /// Creates an actor under `robust` and returns its ID.
    pub(crate) fn create(&mut self, kind: Kind, robust: Address, head: Cid) -> ActorID {
        let id = self.next_id;
        self.next_id += 1;
        let actor = Actor { kind, head, nonce: 0, balance: TokenAmount::zero(), robust: Some(robust) };
        self.actors.insert(id, actor);
        self.ids.insert(robust.to_bytes(), id);
        id
    }

    /// The ID of `address`, after creating an account when a key is met for the first time. `None` for an address
    /// that nothing has and that no account can have.
    pub(crate) fn resolve_or_create_account(&mut self, address: &Address) -> Option<ActorID> {
        self.resolve(address).or_else(|| match address.protocol() {
            Protocol::Secp256k1 | Protocol::BLS => Some(self.create(Kind::Account, *address, Kind::Account.code())),
            _ => None,
        })
    }

    /// The ID that the next created actor gets.
    pub(crate) const fn next_id(&self) -> ActorID {
        self.next_id
    }

    /// Leaves IDs below `id` unused.
    pub(crate) fn skip_ids_to(&mut self, id: ActorID) {
        self.next_id = self.next_id.max(id);
    }

    /// Sets an actor's state root.
    pub(crate) fn set_head(&mut self, id: ActorID, head: Cid) {
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.head = head;
        }
    }

    /// Counts a message of `id`.
    pub(crate) fn bump_nonce(&mut self, id: ActorID) {
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.nonce += 1;
        }
    }

    /// Funds from nowhere: genesis only.
    pub(crate) fn mint(&mut self, id: ActorID, amount: &TokenAmount) {
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.balance += amount;
        }
    }

    /// Moves funds.
    pub(crate) fn transfer(&mut self, from: ActorID, to: ActorID, amount: &TokenAmount) -> Result<(), Unpayable> {
        let balance = self.balance(from);
        if amount.is_negative() || balance < *amount {
            return Err(Unpayable { from, balance, amount: amount.clone() });
        }
        if let Some(actor) = self.actors.get_mut(&from) {
            actor.balance -= amount;
        }
        self.mint(to, amount);
        Ok(())
    }

    /// Funds that are neither burnt nor pledged.
    #[must_use]
    pub fn circulating(&self) -> TokenAmount {
        let held: TokenAmount =
            self.actors.iter().filter(|(id, _)| **id != BURNT_FUNDS_ACTOR_ID).map(|(_, actor)| &actor.balance).sum();
        (held - &self.pledge_total).max(TokenAmount::zero())
    }

    /// IDs of all miners.
    #[must_use]
    pub fn miners(&self) -> Vec<ActorID> {
        self.claims.keys().copied().collect()
    }

    /// A miner's power.
    #[must_use]
    pub fn claim(&self, miner: ActorID) -> Option<&Claim> {
        self.claims.get(&miner)
    }

    /// The network's power, raw and quality-adjusted.
    #[must_use]
    pub fn total_power(&self) -> (BigInt, BigInt) {
        self.claims.values().fold((BigInt::zero(), BigInt::zero()), |(raw, qa), claim| {
            (raw + &claim.raw_byte_power, qa + &claim.quality_adj_power)
        })
    }

    /// Registers a miner's claim.
    pub(crate) fn set_claim(&mut self, miner: ActorID, claim: Claim) {
        self.claims.insert(miner, claim);
    }

    /// Adds to a miner's claim; `false` when it has none or would be left with negative power.
    pub(crate) fn add_power(&mut self, miner: ActorID, raw: &BigInt, qa: &BigInt) -> bool {
        let Some(claim) = self.claims.get_mut(&miner) else { return false };
        claim.raw_byte_power += raw;
        claim.quality_adj_power += qa;
        claim.raw_byte_power >= BigInt::zero() && claim.quality_adj_power >= BigInt::zero()
    }

    /// Adds to the network's locked funds.
    pub(crate) fn add_pledge(&mut self, delta: &TokenAmount) {
        self.pledge_total += delta;
    }
}

/// A map as a list of pairs: DAG-CBOR has no maps with other keys than text.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
