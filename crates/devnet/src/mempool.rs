//! Messages that wait for a block, by sender and nonce, refused in Lotus' words when no block would take them.

use std::collections::BTreeMap;

use chain::message::{MESSAGE_BYTES_MAX, SignedMessage};
use cid::Cid;
use fvm_shared::{address::Address, econ::TokenAmount};

use crate::{
    gas,
    ledger::{Kind, Ledger},
    signature::{self, BadSignature},
    tipset::Included,
};

/// Messages of one sender that may wait.
const PENDING_MAX: usize = 1_000;

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Above the size limit.
    #[error("mpool message too large ({0}B): message too big")]
    TooBig(usize),
    /// No such sender.
    #[error("resolution lookup failed ({0}): resolve address {0}: actor not found")]
    NoSender(String),
    /// Not signed by its sender.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// A block could not hold it.
    #[error("message will not be included in a block: {0}")]
    NotForABlock(String),
    /// The nonce was used.
    #[error("minimum expected nonce is {expected}: message nonce too low")]
    NonceTooLow {
        /// The least nonce that is free.
        expected: u64,
    },
    /// The sender cannot pay it.
    #[error("not enough funds (required: {required}, balance: {balance}): not enough funds to execute transaction")]
    NotEnoughFunds {
        /// Value and gas of all its messages.
        required: TokenAmount,
        /// What the sender holds.
        balance: TokenAmount,
    },
    /// The same message waits already.
    #[error("message from {from} with nonce {nonce} already in mpool: validation failure")]
    AlreadyIn {
        /// The sender.
        from: String,
        /// The nonce.
        nonce: u64,
    },
    /// Another message with this nonce waits, and this one does not pay enough more.
    #[error(
        "message from {from} with nonce {nonce} already in mpool, increase GasPremium to {least} from {offered} to trigger replace by fee: replace by fee has too low GasPremium"
    )]
    PremiumTooLow {
        /// The sender.
        from: String,
        /// The nonce.
        nonce: u64,
        /// The least premium that replaces.
        least: String,
        /// What was offered.
        offered: String,
    },
    /// The sender has too many.
    #[error("too many pending messages for actor {0}")]
    TooMany(String),
}

/// The mempool.
#[derive(Debug, Clone, Default)]
pub struct Mempool {
    pending: BTreeMap<Address, BTreeMap<u64, Included>>,
    /// Sender and nonce of every message seen: a replaced message is looked up by them.
    seen: BTreeMap<Cid, (Address, u64)>,
}

impl Mempool {
    /// Takes a message in. `ledger` is the state after the head.
    pub(crate) fn push(&mut self, ledger: &Ledger, signed: SignedMessage) -> Result<Cid, Rejected> {
        let bytes = signed.to_cbor().map_err(|_| Rejected::TooBig(MESSAGE_BYTES_MAX + 1))?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Rejected::TooBig(bytes.len()));
        }
        let cid = signed.cid().map_err(|e| Rejected::NotForABlock(e.to_string()))?;
        let message = &signed.message;
        let key =
            ledger.key_of(&message.from).ok_or_else(|| Rejected::NoSender(chain::address::print(&message.from)))?;
        signature::check(&signed, &key)?;
        check_gas(&signed)?;
        let expected = state_nonce(ledger, &key)?;
        if message.sequence < expected {
            return Err(Rejected::NonceTooLow { expected });
        }
        self.check_funds(ledger, &key, &signed)?;
        let waiting = self.pending.entry(key).or_default();
        match waiting.get(&message.sequence) {
            Some(old) => check_replacement(old, &cid, &signed)?,
            None if waiting.len() >= PENDING_MAX => return Err(Rejected::TooMany(chain::address::print(&key))),
            None => {}
        }
        self.seen.insert(cid, (key, message.sequence));
        waiting.insert(message.sequence, Included { cid, signed });
        Ok(cid)
    }

    fn check_funds(&self, ledger: &Ledger, key: &Address, signed: &SignedMessage) -> Result<(), Rejected> {
        let balance = ledger.resolve(key).map(|id| ledger.balance(id)).unwrap_or_default();
        let others = self.pending.get(key).into_iter().flatten();
        let waiting: TokenAmount = others
            .filter(|(nonce, _)| **nonce != signed.message.sequence)
            .map(|(_, included)| required(&included.signed))
            .sum();
        let required = waiting + required(signed);
        if balance < required {
            return Err(Rejected::NotEnoughFunds { required, balance });
        }
        Ok(())
    }

    /// Puts messages of abandoned tipsets back; those that no longer fit are dropped.
    pub(crate) fn put_back(&mut self, ledger: &Ledger, messages: impl IntoIterator<Item = Included>) {
        for included in messages {
            if let Err(reason) = self.push(ledger, included.signed) {
                tracing::debug!(cid = %included.cid, %reason, "message of an abandoned tipset dropped");
            }
        }
    }

    /// Takes a waiting message out.
    pub(crate) fn take(&mut self, key: &Address, nonce: u64) -> Option<Included> {
        let waiting = self.pending.get_mut(key)?;
        let taken = waiting.remove(&nonce);
        if waiting.is_empty() {
            self.pending.remove(key);
        }
        taken
    }

    /// Forgets the waiting messages that `wanted` names by sender and nonce; their CIDs.
    pub(crate) fn drop_where(&mut self, wanted: impl Fn(&Address, u64) -> bool) -> Vec<Cid> {
        let mut dropped = Vec::new();
        for (key, waiting) in &mut self.pending {
            waiting.retain(|nonce, included| {
                let goes = wanted(key, *nonce);
                if goes {
                    dropped.push(included.cid);
                }
                !goes
            });
        }
        self.pending.retain(|_, waiting| !waiting.is_empty());
        dropped
    }

    /// The messages of the next block: of each sender those with consecutive nonces, under the block's gas limit.
    pub(crate) fn select(&self, ledger: &Ledger) -> Vec<Included> {
        let mut gas = 0u64;
        let mut chosen = Vec::new();
        for (key, waiting) in &self.pending {
            let Ok(mut next) = state_nonce(ledger, key) else { continue };
            while let Some(included) = waiting.get(&next) {
                let total = gas.saturating_add(included.signed.message.gas_limit);
                if total > gas::BLOCK_GAS_LIMIT {
                    break;
                }
                gas = total;
                chosen.push(included.clone());
                next += 1;
            }
        }
        chosen
    }

    /// Drops what `ledger` has used up.
    pub(crate) fn forget_used(&mut self, ledger: &Ledger) {
        for (key, waiting) in &mut self.pending {
            if let Ok(next) = state_nonce(ledger, key) {
                *waiting = waiting.split_off(&next);
            }
        }
        self.pending.retain(|_, waiting| !waiting.is_empty());
    }

    /// The nonce a sender should use next.
    pub(crate) fn next_nonce(&self, ledger: &Ledger, address: &Address) -> Result<u64, Rejected> {
        let key = ledger.key_of(address).ok_or_else(|| Rejected::NoSender(chain::address::print(address)))?;
        let mut next = state_nonce(ledger, &key)?;
        if let Some(waiting) = self.pending.get(&key) {
            while waiting.contains_key(&next) {
                next += 1;
            }
        }
        Ok(next)
    }

    /// Everything that waits.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Included> {
        self.pending.values().flat_map(BTreeMap::values)
    }

    /// Who sent a message under which nonce.
    pub(crate) fn origin(&self, cid: &Cid) -> Option<&(Address, u64)> {
        self.seen.get(cid)
    }
}

fn required(signed: &SignedMessage) -> TokenAmount {
    &signed.message.gas_fee_cap * signed.message.gas_limit + &signed.message.value
}

fn state_nonce(ledger: &Ledger, key: &Address) -> Result<u64, Rejected> {
    ledger
        .resolve(key)
        .and_then(|id| ledger.actor(id))
        .filter(|actor| actor.kind == Kind::Account)
        .map(|actor| actor.nonce)
        .ok_or_else(|| Rejected::NoSender(chain::address::print(key)))
}

fn check_gas(signed: &SignedMessage) -> Result<(), Rejected> {
    // What storing a message costs at least; Lotus computes it from the bytes.
    const ON_CHAIN_MIN: u64 = 100_000;
    let message = &signed.message;
    let refuse = |text: String| Err(Rejected::NotForABlock(text));
    if message.value.is_negative() {
        return refuse("'Value' field cannot be negative".to_owned());
    }
    if message.gas_premium > message.gas_fee_cap {
        return refuse("'GasFeeCap' less than 'GasPremium'".to_owned());
    }
    if message.gas_limit > gas::BLOCK_GAS_LIMIT {
        return refuse("'GasLimit' field cannot be greater than a block's gas limit".to_owned());
    }
    if message.gas_limit < ON_CHAIN_MIN {
        return refuse(format!(
            "'GasLimit' field cannot be less than the cost of storing a message on chain {} < {ON_CHAIN_MIN}",
            message.gas_limit
        ));
    }
    Ok(())
}

/// A message replaces another of the same nonce when it offers a quarter more.
fn check_replacement(old: &Included, cid: &Cid, new: &SignedMessage) -> Result<(), Rejected> {
    let (from, nonce) = (chain::address::print(&new.message.from), new.message.sequence);
    if old.cid == *cid {
        return Err(Rejected::AlreadyIn { from, nonce });
    }
    let offered = &old.signed.message.gas_premium;
    let least = offered + offered.div_floor(4) + TokenAmount::from_atto(1);
    if new.message.gas_premium < least {
        return Err(Rejected::PremiumTooLow {
            from,
            nonce,
            least: least.atto().to_string(),
            offered: new.message.gas_premium.atto().to_string(),
        });
    }
    Ok(())
}
