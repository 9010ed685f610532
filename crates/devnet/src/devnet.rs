//! The chain: tipsets, the state after each, and the messages that wait.

use std::sync::Arc;

use chain::message::SignedMessage;
use cid::Cid;
use fvm_shared::{address::Address, bigint::BigInt, econ::TokenAmount, message::Message, receipt::Receipt};
use prover::Verifier;
use streams::id::Epoch;

use crate::{
    apply::{self, Applied},
    blocks::Blocks,
    call::{Call, Observed, PostVerdict, World},
    economy::Economy,
    gas,
    genesis::Genesis,
    journal::{Journal, Line, PushLine},
    ledger::Ledger,
    mempool::{Mempool, Rejected},
    miner,
    randomness::{self, Draws},
    rules::Rules,
    tipset::{BeaconEntry, ElectionProof, Header, Included, Ticket, Tipset},
};

/// Beacon entries in one block, at most: after a longer silence the oldest are left out.
const BEACON_ENTRIES_MAX: Epoch = 20;

/// An embedded chain.
pub struct Devnet {
    pub(crate) genesis: Genesis,
    pub(crate) rules: Rules,
    pub(crate) economy: Economy,
    pub(crate) blocks: Blocks,
    verifier: Arc<dyn Verifier>,
    /// From genesis; never empty.
    pub(crate) tipsets: Vec<Tipset>,
    pub(crate) mempool: Mempool,
    /// The clock: the head's height, or later after null rounds.
    pub(crate) epoch: Epoch,
    /// Rounds to come that stay without a block.
    pub(crate) null_rounds: u64,
    /// Counts reorganisations.
    pub(crate) branch: u64,
    pub(crate) verdicts: Vec<PostVerdict>,
    pub(crate) journal: Journal,
    /// Newest tipsets that the call in progress does not see.
    hidden: usize,
}

/// A tipset key that names no tipset of this chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("loading tipset {0}: not found")]
pub struct UnknownTipset(String);

impl Devnet {
    /// A new chain, at height 0.
    pub fn new(genesis: Genesis, verifier: Arc<dyn Verifier>) -> anyhow::Result<Self> {
        let blocks = Blocks::default();
        let (rules, economy) = (genesis.rules(), Economy::default());
        let root = genesis.ledger(&blocks, &rules, &economy)?.store(&blocks)?;
        let mut devnet = Self {
            genesis,
            rules,
            economy,
            blocks,
            verifier,
            tipsets: vec![],
            mempool: Mempool::default(),
            epoch: 0,
            null_rounds: 0,
            branch: 0,
            verdicts: vec![],
            journal: Journal::default(),
            hidden: 0,
        };
        let header = devnet.header(0, root, &[], &[])?;
        let genesis = Tipset { cid: cid_of(&header)?, header, messages: vec![], receipts: vec![], after: root };
        devnet.journal.note(Line::tipset(&genesis))?;
        devnet.tipsets.push(genesis);
        Ok(devnet)
    }

    /// A chain as it was saved.
    pub(crate) fn restore(
        genesis: Genesis,
        verifier: Arc<dyn Verifier>,
        blocks: Blocks,
        tipsets: Vec<Tipset>,
        branch: u64,
        verdicts: Vec<PostVerdict>,
    ) -> Self {
        let epoch = tipsets.last().map_or(0, |tipset| tipset.header.height);
        let (rules, economy) = (genesis.rules(), Economy::default());
        let (mempool, journal) = (Mempool::default(), Journal::default());
        Self {
            genesis,
            rules,
            economy,
            blocks,
            verifier,
            tipsets,
            mempool,
            epoch,
            null_rounds: 0,
            branch,
            verdicts,
            journal,
            hidden: 0,
        }
    }

    /// Lets `epochs` epochs pass. Each makes a tipset with the messages that wait, or stays a null round.
    pub fn advance(&mut self, epochs: u64) -> anyhow::Result<Epoch> {
        for _ in 0..epochs {
            self.epoch += 1;
            if self.null_rounds > 0 {
                self.null_rounds -= 1;
            } else {
                self.extend()?;
            }
        }
        Ok(self.height())
    }

    /// Leaves the next `rounds` rounds without a block.
    pub fn null_rounds(&mut self, rounds: u64) {
        self.null_rounds += rounds;
    }

    /// Notes that the chain is served from here on, and writes every line of its log to `file` as well.
    pub fn log_to(&mut self, file: Option<std::fs::File>) -> anyhow::Result<()> {
        if let Some(file) = file {
            self.journal.write_to(file);
        }
        let (height, head) = self.head_names();
        let row = &self.rules.row;
        self.journal.note(Line::Started {
            network: self.rules.name.clone(),
            height,
            head,
            block_delay_ms: row.block_delay_ms,
            finality: row.finality,
            pre_commit_challenge_delay: row.pre_commit_challenge_delay,
        })
    }

    /// Lets queries see a chain that is so many tipsets shorter.
    pub(crate) const fn hide(&mut self, tipsets: usize) {
        self.hidden = tipsets;
    }

    /// The tipsets that a query sees, from genesis.
    pub(crate) fn visible(&self) -> &[Tipset] {
        let end = self.tipsets.len().saturating_sub(self.hidden).max(1);
        self.tipsets.get(..end).unwrap_or(&self.tipsets)
    }

    /// The head's height.
    #[must_use]
    pub fn height(&self) -> Epoch {
        self.visible().last().map_or(0, |tipset| tipset.header.height)
    }

    /// Whether the head holds any message.
    #[must_use]
    pub fn head_has_messages(&self) -> bool {
        self.tipsets.last().is_some_and(|tipset| !tipset.messages.is_empty())
    }

    /// The network's rules.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What verification said of every window PoSt that a message brought, accepted or not.
    #[must_use]
    pub fn post_verdicts(&self) -> &[PostVerdict] {
        &self.verdicts
    }

    /// Takes a signed message in.
    pub fn push(&mut self, signed: SignedMessage) -> anyhow::Result<Result<Cid, Rejected>> {
        let ledger = self.ledger_after_head()?;
        let line = signed.cid().ok().map(|cid| PushLine::of(&Included { cid, signed: signed.clone() }, self.height()));
        let outcome = self.mempool.push(&ledger, signed);
        if let Some(line) = line {
            self.journal.note(Line::push(line, outcome.as_ref().map(|_| ())))?;
        }
        Ok(outcome)
    }

    /// The nonce to use next.
    pub(crate) fn next_nonce(&self, address: &Address) -> anyhow::Result<Result<u64, Rejected>> {
        Ok(self.mempool.next_nonce(&self.ledger_after_head()?, address))
    }

    /// Executes a message on a copy of the state after the head, as if in the next block, with gas and nonce as they
    /// should be.
    pub(crate) fn dry_run(&self, message: &Message) -> anyhow::Result<Applied> {
        let mut ledger = self.ledger_after_head()?;
        let mut message = message.clone();
        let sender = ledger.resolve(&message.from).and_then(|id| ledger.actor(id));
        message.sequence = sender.map_or(0, |actor| actor.nonce);
        message.gas_limit = gas::used(&message);
        message.gas_fee_cap = TokenAmount::default();
        message.gas_premium = TokenAmount::default();
        let world = self.world(self.epoch + 1);
        Ok(apply::apply(&world, &mut ledger, &message, &mut Observed::default()))
    }

    pub(crate) fn ledger_after_head(&self) -> anyhow::Result<Ledger> {
        let head = self.visible().last().ok_or_else(|| anyhow::anyhow!("the chain has no genesis"))?;
        Ledger::load(&self.blocks, &head.after)
    }

    /// Tipsets up to the one a key names; the empty key is the head.
    pub(crate) fn up_to(&self, key: &[Cid]) -> Result<&[Tipset], UnknownTipset> {
        let unknown = || UnknownTipset(key.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        let end = match key {
            [] => self.visible().len(),
            [cid] => self.tipsets.iter().rposition(|tipset| tipset.cid == *cid).ok_or_else(unknown)? + 1,
            _ => return Err(unknown()),
        };
        self.tipsets.get(..end).ok_or_else(unknown)
    }

    /// Where a message landed: its CID there, its receipt, and the tipset that shows what it did, which is the child
    /// of the one that holds it.
    pub(crate) fn find_message(&self, cid: &Cid) -> Option<(Cid, &Receipt, &Tipset)> {
        let origin = self.mempool.origin(cid);
        self.visible().windows(2).rev().find_map(|pair| {
            let [parent, child] = pair else { return None };
            parent.messages.iter().zip(&parent.receipts).find_map(|(included, receipt)| {
                let message = &included.signed.message;
                let same = included.cid == *cid
                    || origin.is_some_and(|(from, nonce)| message.from == *from && message.sequence == *nonce);
                same.then_some((included.cid, receipt, child))
            })
        })
    }

    fn world(&self, epoch: Epoch) -> World<'_> {
        World {
            blocks: &self.blocks,
            rules: &self.rules,
            economy: &self.economy,
            verifier: self.verifier.as_ref(),
            draws: Draws { seed: &self.genesis.seed, tipsets: &self.tipsets },
            epoch,
        }
    }

    fn extend(&mut self) -> anyhow::Result<()> {
        let parent = self.tipsets.last().ok_or_else(|| anyhow::anyhow!("the chain has no genesis"))?;
        let (root, parent_height) = (parent.after, parent.header.height);
        let before = Ledger::load(&self.blocks, &root)?;
        let messages = self.mempool.select(&before);
        let header = self.header(self.epoch, root, &parent.receipts, &messages)?;
        let cid = cid_of(&header)?;
        self.tipsets.push(Tipset { cid, header, messages, receipts: vec![], after: root });

        let mut observed = Observed::default();
        let (after, receipts) = self.execute(before, parent_height, &mut observed)?;
        let after_root = after.store(&self.blocks)?;
        self.mempool.forget_used(&after);
        if let Some(head) = self.tipsets.last_mut() {
            head.receipts = receipts;
            head.after = after_root;
            self.journal.note(Line::tipset(head))?;
        }
        for verdict in observed.posts {
            self.verdicts.push(verdict.clone());
            self.journal.note(Line::Post { tipset: cid.to_string(), verdict })?;
        }
        for close in observed.closes {
            self.journal.note(Line::DeadlineClosed { tipset: cid.to_string(), close })?;
        }
        Ok(())
    }

    /// Runs the cron of null rounds since the parent, then the head's messages, then its own cron.
    fn execute(
        &self,
        mut ledger: Ledger,
        parent_height: Epoch,
        observed: &mut Observed,
    ) -> anyhow::Result<(Ledger, Vec<Receipt>)> {
        let head = self.tipsets.last().ok_or_else(|| anyhow::anyhow!("the chain has no genesis"))?;
        for null_round in parent_height + 1..head.header.height {
            cron(&self.world(null_round), &mut ledger, observed);
        }
        let world = self.world(head.header.height);
        let mut receipts = Vec::with_capacity(head.messages.len());
        for included in &head.messages {
            let applied = apply::apply(&world, &mut ledger, &included.signed.message, observed);
            tell(included, &applied, world.epoch);
            receipts.push(applied.receipt);
        }
        cron(&world, &mut ledger, observed);
        Ok((ledger, receipts))
    }

    fn header(
        &self,
        height: Epoch,
        parent_state_root: Cid,
        parent_receipts: &[Receipt],
        messages: &[Included],
    ) -> anyhow::Result<Header> {
        let seed = &self.genesis.seed;
        let parent = self.tipsets.last();
        let since = parent.map_or(0, |parent| parent.header.height + 1).max(height - BEACON_ENTRIES_MAX + 1);
        let entry =
            |round: Epoch| BeaconEntry { round: round.unsigned_abs(), data: randomness::beacon_entry(seed, round) };
        let cids: Vec<Cid> = messages.iter().map(|included| included.cid).collect();
        let ticket = randomness::ticket(seed, self.branch, height);
        let elapsed_ms = height.unsigned_abs() * self.rules.row.block_delay_ms;
        Ok(Header {
            miner: Address::new_id(0),
            election_proof: parent.map(|_| ElectionProof { win_count: 1, vrf_proof: ticket.clone() }),
            ticket: Ticket { vrf_proof: ticket },
            beacon_entries: (since..=height).map(entry).collect(),
            win_post_proof: vec![],
            parents: parent.map(|parent| parent.cid).into_iter().collect(),
            parent_weight: BigInt::from(self.tipsets.len()),
            height,
            parent_state_root,
            parent_message_receipts: cid_of(&parent_receipts)?,
            messages: cid_of(&cids)?,
            bls_aggregate: None,
            timestamp: self.genesis.timestamp + elapsed_ms / 1_000,
            block_sig: None,
            fork_signaling: 0,
            parent_base_fee: gas::base_fee(),
        })
    }
}

/// What every miner does at the end of an epoch. A miner that cannot is left as it was, and a person is told.
fn cron(world: &World<'_>, ledger: &mut Ledger, observed: &mut Observed) {
    for id in ledger.miners() {
        let mut after = ledger.clone();
        let mut seen = Observed::default();
        let mut call =
            Call { world, ledger: &mut after, from: 0, to: id, value: TokenAmount::default(), observed: &mut seen };
        match miner::end_of_epoch(&mut call) {
            Ok(()) => {
                *ledger = after;
                observed.closes.append(&mut seen.closes);
            }
            Err(error) => {
                tracing::error!(miner = id, epoch = world.epoch, error = %error.msg(), "cron of a miner failed")
            }
        }
    }
}

fn tell(included: &Included, applied: &Applied, epoch: Epoch) {
    let message = &included.signed.message;
    let (from, to) = (chain::address::print(&message.from), chain::address::print(&message.to));
    let exit = applied.receipt.exit_code.value();
    if exit == 0 {
        tracing::info!(cid = %included.cid, %from, %to, method = message.method_num, epoch, "message executed");
    } else {
        tracing::warn!(cid = %included.cid, %from, %to, method = message.method_num, epoch, exit, reason = %applied.error, "message failed");
    }
}

fn cid_of<T: serde::Serialize + ?Sized>(value: &T) -> anyhow::Result<Cid> {
    Ok(chain::cids::of_cbor(&fvm_ipld_encoding::to_vec(value)?))
}
