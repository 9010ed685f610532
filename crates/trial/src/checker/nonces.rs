//! I16: one nonce, one message; and no nonce left out.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fvm_ipld_encoding::{from_slice, strict_bytes, tuple::*};

use super::{
    Evidence, Found, Spot, Violation,
    chain::{POST, PRE_COMMIT, PROVE_COMMIT, RECOVERED},
};
use crate::evidence::CHAIN;

/// What a message does, whatever it pays for gas: a replacement does the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Deed {
    method: u64,
    /// In base64.
    params: String,
}

/// A message as it is signed.
#[derive(Debug, Serialize_tuple, Deserialize_tuple)]
pub(super) struct Message {
    pub(super) version: u64,
    #[serde(with = "strict_bytes")]
    pub(super) to: Vec<u8>,
    #[serde(with = "strict_bytes")]
    pub(super) from: Vec<u8>,
    pub(super) nonce: u64,
    #[serde(with = "strict_bytes")]
    pub(super) value: Vec<u8>,
    pub(super) gas_limit: i64,
    #[serde(with = "strict_bytes")]
    pub(super) gas_fee_cap: Vec<u8>,
    #[serde(with = "strict_bytes")]
    pub(super) gas_premium: Vec<u8>,
    pub(super) method: u64,
    #[serde(with = "strict_bytes")]
    pub(super) params: Vec<u8>,
}

/// A signed message.
#[derive(Debug, Serialize_tuple, Deserialize_tuple)]
pub(super) struct SignedMessage {
    pub(super) message: Message,
    #[serde(with = "strict_bytes")]
    pub(super) signature: Vec<u8>,
}

/// `f3…`, whichever letter the network uses.
pub(super) fn address(text: &str) -> String {
    text.strip_prefix('t').map_or_else(|| text.to_owned(), |rest| format!("f{rest}"))
}

/// Under one sender and nonce stand signed bytes that do different things, in the outbox or on chain; signed bytes carry
/// another nonce than their key says; or, once everything is at rest, a nonce between used ones is in neither. What was
/// signed and never written down cannot be seen, unless it landed.
pub(super) fn i16(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I16");
    let mut deeds = BTreeMap::<(String, u64), BTreeMap<Deed, Spot>>::new();
    for ((sender, nonce), entries) in &evidence.outbox {
        for entry in entries {
            for signed in &entry.value.signed {
                let bytes = STANDARD.decode(&signed.bytes).unwrap_or_default();
                let Ok(SignedMessage { message, .. }) = from_slice(&bytes) else {
                    let words = format!("the signed bytes of {} cannot be read", signed.cid);
                    found.note(format!("{sender}/{nonce}"), [entry.spot], words);
                    continue;
                };
                if message.nonce != *nonce {
                    let words = format!("nonce {} is signed under the key of nonce {nonce}", message.nonce);
                    found.note(format!("{sender}/{nonce}"), [entry.spot], words);
                }
                let deed = Deed { method: message.method, params: STANDARD.encode(&message.params) };
                deeds.entry((sender.clone(), *nonce)).or_default().entry(deed).or_insert(entry.spot);
            }
        }
    }
    on_chain(evidence, &mut deeds, &mut found);
    for ((sender, nonce), different) in deeds.iter().filter(|(_, different)| different.len() > 1) {
        found.note(format!("{sender}/{nonce}"), different.values().copied(), "different messages have this nonce");
    }
    gaps(evidence, deeds.into_keys(), &mut found);
    found.all
}

fn on_chain(evidence: &Evidence, deeds: &mut BTreeMap<(String, u64), BTreeMap<Deed, Spot>>, found: &mut Found) {
    let senders: BTreeSet<_> = deeds.keys().map(|(sender, _)| sender.clone()).collect();
    for landed in evidence.chain.ever() {
        let message = &landed.value;
        let key = (address(&message.from), message.nonce);
        if !senders.contains(&key.0) || evidence.chain.foreign.contains(&message.cid) {
            continue;
        }
        let ours = [POST, RECOVERED, PRE_COMMIT, PROVE_COMMIT].contains(&message.method);
        if ours && !deeds.contains_key(&key) {
            let words = format!("{} landed, and no outbox ever had it", message.cid);
            found.note(format!("{}/{}", key.0, key.1), [landed.spot], words);
        }
        let deed = Deed { method: message.method, params: message.params().to_owned() };
        deeds.entry(key).or_default().entry(deed).or_insert(landed.spot);
    }
}

fn gaps(evidence: &Evidence, used: impl Iterator<Item = (String, u64)>, found: &mut Found) {
    if !evidence.run.is_settled() || !evidence.has(CHAIN) {
        return;
    }
    let foreign = evidence.chain.ever().map(|landed| (address(&landed.value.from), landed.value.nonce));
    let used: BTreeSet<_> = used.chain(foreign).collect();
    let ours: BTreeSet<_> = evidence.outbox.keys().map(|(sender, _)| sender).collect();
    for ((sender, before), (next, after)) in used.iter().zip(used.iter().skip(1)) {
        if sender == next && after - before > 1 && ours.contains(sender) {
            let words = format!("nonces {} to {} were left out", before + 1, after - 1);
            let lines = evidence.outbox.get(&(sender.clone(), *after)).and_then(|entries| entries.first());
            found.note(format!("{sender}/{after}"), lines.map(|entry| entry.spot), words);
        }
    }
}
