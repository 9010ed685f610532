//! Tipsets, the pool, and how the one becomes the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chain::{
    address::to_miner,
    api::{MessageLookup, Receipt, TipSet, TipSetKey},
    cids,
    message::SignedMessage,
    params::{PreCommitSectorBatchParams2, ProveCommitSectors3Params, batch_failures, method},
    policy::NetworkPolicy,
    randomness::{blake2b_256, draw},
};
use cid::Cid;
use fvm_shared::{address::Address, econ::TokenAmount, message::Message};
use prover::Verifier;
use streams::{
    id::{Epoch, MinerId},
    model::Random,
    proof::{Bytes32, Commitment},
};

use super::miner::{Around, Miner, Window, window_at};

/// The state after a tipset.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) nonces: BTreeMap<Address, u64>,
    pub(super) miners: BTreeMap<MinerId, Miner>,
}

/// A tipset of one block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) height: Epoch,
    pub(super) key: Cid,
    salt: u64,
    pub(super) state: Arc<State>,
    messages: Vec<(SignedMessage, Receipt)>,
}

/// A window that went by without its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) miner: MinerId,
    pub(crate) open: Epoch,
    pub(crate) deadline: u64,
    pub(crate) partition: u64,
}

/// The chain.
pub(crate) struct World {
    pub(super) policy: NetworkPolicy,
    verifier: Arc<dyn Verifier>,
    pub(super) zero_comm_d: Commitment,
    pub(super) owners: BTreeMap<Address, u64>,
    beacon: u64,
    pub(super) blocks: Vec<Block>,
    pool: BTreeMap<(Address, u64), SignedMessage>,
    /// Every message that was ever pushed: what two of one nonce would show.
    signed: BTreeMap<(Address, u64), BTreeSet<Vec<u8>>>,
    missed: Vec<Missed>,
    pub(super) genesis_secs: u64,
}

impl World {
    pub(crate) fn new(
        policy: NetworkPolicy,
        verifier: Arc<dyn Verifier>,
        zero_comm_d: Commitment,
        miners: &[MinerId],
        owners: &[Address],
        random: &mut Random,
    ) -> Self {
        let genesis = State {
            nonces: owners.iter().map(|owner| (*owner, 0)).collect(),
            miners: miners.iter().map(|miner| (*miner, Miner::new(&policy))).collect(),
        };
        let block = Block {
            height: 0,
            key: cids::of_cbor(b"genesis"),
            salt: random.next(),
            state: Arc::new(genesis),
            messages: Vec::new(),
        };
        Self {
            policy,
            verifier,
            zero_comm_d,
            owners: owners.iter().copied().zip(100..).collect(),
            beacon: random.next(),
            blocks: vec![block],
            pool: BTreeMap::new(),
            signed: BTreeMap::new(),
            missed: Vec::new(),
            genesis_secs: 1_700_000_000,
        }
    }

    pub(super) fn head(&self) -> Option<&Block> {
        self.blocks.last()
    }

    pub(crate) fn height(&self) -> Epoch {
        self.head().map_or(0, |block| block.height)
    }

    /// Epochs go by: some without a block, the last with one.
    pub(crate) fn advance(&mut self, null_rounds: Epoch, included_permille: u64, random: &mut Random) {
        let Some(head) = self.head().cloned() else { return };
        let height = head.height + 1 + null_rounds;
        let mut state = State::clone(&head.state);
        // The windows that closed since, before anything of this epoch is executed.
        for epoch in head.height + 1..=height {
            let window = window_at(&self.policy, epoch - 1);
            if window.close == epoch {
                self.close(&mut state, window);
            }
        }
        let salt = random.next();
        let key = cids::of_cbor(&[&height.to_be_bytes()[..], &salt.to_be_bytes(), &head.key.to_bytes()].concat());
        let mut messages = Vec::new();
        for ((sender, nonce), signed) in self.pool.clone() {
            let expected = state.nonces.get(&sender).copied().unwrap_or(0);
            if nonce != expected || random.below(1_000) >= included_permille {
                continue;
            }
            let receipt = self.execute(&mut state, &signed.message, height);
            state.nonces.insert(sender, nonce + 1);
            self.pool.remove(&(sender, nonce));
            messages.push((signed, receipt));
        }
        self.blocks.push(Block { height, key, salt, state: Arc::new(state), messages });
    }

    fn close(&mut self, state: &mut State, window: Window) {
        for (miner, held) in &mut state.miners {
            for partition in held.close(window) {
                let missed = Missed { miner: *miner, open: window.open, deadline: window.index, partition };
                if !self.missed.contains(&missed) {
                    self.missed.push(missed);
                }
            }
        }
    }

    /// The last tipsets were another chain's. What was in them waits again, or is lost.
    pub(crate) fn reorganise(&mut self, depth: usize, lost_permille: u64, random: &mut Random) {
        let mut epochs = 0;
        let mut again = Vec::new();
        for _ in 0..depth.min(self.blocks.len().saturating_sub(1)) {
            let Some(block) = self.blocks.pop() else { break };
            epochs += block.height - self.height();
            again.extend(block.messages);
        }
        let base = self.height();
        self.missed.retain(|missed| missed.open + self.policy.challenge_window <= base);
        for (signed, _) in again {
            if random.below(1_000) >= lost_permille {
                self.pool.insert((signed.message.from, signed.message.sequence), signed);
            }
        }
        // A heavier chain is not shorter.
        for _ in 0..=epochs {
            self.advance(0, 700, random);
        }
    }

    /// The pool forgets what waits in it.
    pub(crate) fn drop_pool(&mut self, lost_permille: u64, random: &mut Random) {
        self.pool.retain(|_, _| random.below(1_000) >= lost_permille);
    }

    pub(super) fn push(&mut self, signed: SignedMessage, bytes: &[u8]) -> Result<Cid, String> {
        let (from, nonce) = (signed.message.from, signed.message.sequence);
        self.signed.entry((from, nonce)).or_default().insert(bytes.to_vec());
        let expected = self.head().and_then(|head| head.state.nonces.get(&from).copied()).unwrap_or(0);
        if nonce < expected {
            return Err("message nonce too low".to_owned());
        }
        let cid = signed.cid().map_err(|error| error.to_string())?;
        match self.pool.get(&(from, nonce)) {
            Some(waiting) if *waiting != signed => Err("replace by fee has too low GasPremium".to_owned()),
            _ => {
                self.pool.insert((from, nonce), signed);
                Ok(cid)
            }
        }
    }

    pub(super) fn next_nonce(&self, from: &Address) -> u64 {
        let mut nonce = self.head().and_then(|head| head.state.nonces.get(from).copied()).unwrap_or(0);
        while self.pool.contains_key(&(*from, nonce)) {
            nonce += 1;
        }
        nonce
    }

    pub(super) fn execute(&self, state: &mut State, message: &Message, epoch: Epoch) -> Receipt {
        let done = self.call(state, message, epoch);
        let (exit_code, return_value) = done.map_or_else(|code| (code, Vec::new()), |value| (0, value));
        Receipt { exit_code, return_value, gas_used: 1_000_000 }
    }

    fn call(&self, state: &mut State, message: &Message, epoch: Epoch) -> Result<Vec<u8>, u32> {
        let id = to_miner(&message.to).map_err(|_| 16_u32)?;
        let miner = state.miners.get_mut(&id).ok_or(17_u32)?;
        let around = Around {
            id,
            epoch,
            policy: &self.policy,
            verifier: self.verifier.as_ref(),
            tickets: &|tag, at, bound| self.tickets(usize::MAX, tag, at, bound),
            beacon: &|tag, at, bound| self.beacon(tag, at, bound),
            zero_comm_d: self.zero_comm_d,
            is_owner: self.owners.contains_key(&message.from),
        };
        let params = message.params.bytes();
        match message.method_num {
            method::PRE_COMMIT_SECTOR_BATCH2 => miner.pre_commit(&around, params),
            method::PROVE_COMMIT_SECTORS3 => miner.prove_commit(&around, params),
            method::SUBMIT_WINDOWED_POST => miner.window_post(&around, params),
            method::DECLARE_FAULTS_RECOVERED => miner.recover(&around, params),
            _ => Err(22),
        }
    }

    /// Draws from the ticket of the tipset at or before an epoch, on the chain up to `last`.
    pub(super) fn tickets(&self, last: usize, tag: i64, epoch: Epoch, bound: &[u8]) -> Bytes32 {
        let end = last.saturating_add(1).min(self.blocks.len());
        let known = self.blocks.get(..end).unwrap_or_default();
        let base = known.iter().rev().find(|block| block.height <= epoch).or_else(|| known.first());
        draw(&blake2b_256(&base.map_or(0, |block| block.salt).to_be_bytes()), tag, epoch, bound)
    }

    /// The beacon is the same on every chain.
    pub(super) fn beacon(&self, tag: i64, epoch: Epoch, bound: &[u8]) -> Bytes32 {
        let base = [self.beacon.to_be_bytes(), epoch.to_be_bytes()].concat();
        draw(&blake2b_256(&base), tag, epoch, bound)
    }

    /// Where a key's tipset is; an empty key is the head.
    pub(super) fn index(&self, key: &TipSetKey) -> Option<usize> {
        match key.first() {
            None => self.blocks.len().checked_sub(1),
            Some(cid) => self.blocks.iter().rposition(|block| block.key == *cid),
        }
    }

    pub(super) fn tipset(&self, index: usize) -> Option<TipSet> {
        let block = self.blocks.get(index)?;
        let parent = index.checked_sub(1).and_then(|index| self.blocks.get(index));
        Some(TipSet {
            key: vec![block.key],
            parents: parent.map(|parent| vec![parent.key]).unwrap_or_default(),
            height: block.height,
            timestamp: self.genesis_secs
                + u64::try_from(block.height).unwrap_or(0) * self.policy.block_delay_ms / 1_000,
            base_fee: TokenAmount::from_atto(100),
        })
    }

    pub(super) fn search(&self, cid: &Cid) -> Option<MessageLookup> {
        self.blocks.iter().rev().find_map(|block| {
            let found = block.messages.iter().find(|(signed, _)| signed.cid().is_ok_and(|found| found == *cid));
            found.map(|(_, receipt)| MessageLookup {
                cid: *cid,
                receipt: receipt.clone(),
                tipset: vec![block.key],
                height: block.height,
            })
        })
    }

    /// Windows without a proof, so far.
    pub(crate) fn missed(&self) -> &[Missed] {
        &self.missed
    }

    /// Whether the chain counts a sector among the live ones. It may be faulty since a window that nobody could prove:
    /// recoveries are declared by a person.
    pub(crate) fn is_live(&self, miner: MinerId, number: u64) -> bool {
        let Some(held) = self.head().and_then(|head| head.state.miners.get(&miner)) else { return false };
        let partitions = held.deadlines.iter().flat_map(|deadline| &deadline.partitions);
        partitions.into_iter().any(|p| p.live.contains(&number))
    }

    /// What must never be on a chain, in words.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for ((from, nonce), signed) in self.signed.iter().filter(|(_, signed)| signed.len() > 1) {
            found.push(format!("I16: {} different messages of {from} with nonce {nonce} were signed", signed.len()));
        }
        let mut succeeded = BTreeSet::new();
        for (signed, receipt) in self.blocks.iter().flat_map(|block| &block.messages) {
            let message = &signed.message;
            let failures = match message.method_num {
                method::PROVE_COMMIT_SECTORS3 => batch_failures(&receipt.return_value).unwrap_or_default(),
                _ => Vec::new(),
            };
            for (index, number) in carried(message).into_iter().enumerate() {
                if succeeded.contains(&(message.to, message.method_num, number)) {
                    found.push(format!("I4: method {} for sector {number} landed twice", message.method_num));
                }
                if receipt.exit_code == 0 && !failures.iter().any(|(failed, _)| *failed == index) {
                    succeeded.insert((message.to, message.method_num, number));
                }
            }
        }
        found
    }

    /// Sectors whose prove-commit landed, with their miner.
    pub(crate) fn proven(&self) -> Vec<(MinerId, u64)> {
        let Some(head) = self.head() else { return Vec::new() };
        let miners = head.state.miners.iter();
        miners.flat_map(|(miner, held)| held.sectors.keys().map(|number| (*miner, *number))).collect()
    }
}

/// The sectors that a message seals.
fn carried(message: &Message) -> Vec<u64> {
    let params = message.params.bytes();
    match message.method_num {
        method::PRE_COMMIT_SECTOR_BATCH2 => fvm_ipld_encoding::from_slice::<PreCommitSectorBatchParams2>(params)
            .map(|params| params.sectors.iter().map(|sector| sector.sector_number).collect())
            .unwrap_or_default(),
        method::PROVE_COMMIT_SECTORS3 => fvm_ipld_encoding::from_slice::<ProveCommitSectors3Params>(params)
            .map(|params| params.sector_activations.iter().map(|sector| sector.sector_number).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}
