//! A chain in a file: saved to go on later, and forked so that tests need not seal anew.
//!
//! ```text
//! magic (16 bytes) | version (u32, big-endian) | blake2b-256 of the body | body: CBOR
//! ```
//!
//! Absent, corrupt and too new are three answers. Messages that wait are saved too.

use std::{path::Path, sync::Arc};

use chain::{message::SignedMessage, randomness::blake2b_256};
use cid::Cid;
use fvm_ipld_encoding::{RawBytes, tuple::*};
use fvm_shared::receipt::Receipt;
use prover::Verifier;

use crate::{
    blocks::Blocks,
    call::PostVerdict,
    devnet::Devnet,
    genesis::Genesis,
    tipset::{Header, Included, Tipset},
};

const MAGIC: &[u8; 16] = b"sealstream-chain";
const VERSION: u32 = 1;

/// A file that is no saved chain.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    /// Reading or writing failed.
    #[error("saved chain cannot be read or written")]
    Io(#[from] std::io::Error),
    /// Not one, or damaged.
    #[error("not a saved chain, or damaged: {0}")]
    Corrupt(String),
    /// Written by a newer program.
    #[error("saved chain has version {found}, this program reads up to {VERSION}")]
    TooNew {
        /// Its version.
        found: u32,
    },
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct Saved {
    genesis: Genesis,
    branch: u64,
    tipsets: Vec<SavedTipset>,
    blocks: Vec<(Cid, RawBytes)>,
    waiting: Vec<RawBytes>,
    verdicts: Vec<PostVerdict>,
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct SavedTipset {
    cid: Cid,
    header: Header,
    messages: Vec<RawBytes>,
    receipts: Vec<Receipt>,
    after: Cid,
}

impl Devnet {
    /// The chain as bytes.
    pub fn to_snapshot(&self) -> anyhow::Result<Vec<u8>> {
        let saved = Saved {
            genesis: self.genesis.clone(),
            branch: self.branch,
            tipsets: self.tipsets.iter().map(SavedTipset::of).collect::<anyhow::Result<_>>()?,
            blocks: self.blocks.all().into_iter().map(|(cid, bytes)| (cid, RawBytes::new(bytes.to_vec()))).collect(),
            waiting: self.mempool.all().map(raw).collect::<anyhow::Result<_>>()?,
            verdicts: self.verdicts.clone(),
        };
        let body = fvm_ipld_encoding::to_vec(&saved)?;
        Ok([MAGIC.as_slice(), &VERSION.to_be_bytes(), &blake2b_256(&body), &body].concat())
    }

    /// A chain that goes on from a snapshot.
    pub fn from_snapshot(bytes: &[u8], verifier: Arc<dyn Verifier>) -> Result<Self, BadSnapshot> {
        let corrupt = |reason: &dyn std::fmt::Display| BadSnapshot::Corrupt(reason.to_string());
        let saved: Saved = fvm_ipld_encoding::from_slice(body(bytes)?).map_err(|e| corrupt(&e))?;
        if saved.tipsets.is_empty() {
            return Err(corrupt(&"it has no genesis"));
        }
        let blocks = Blocks::holding(saved.blocks.into_iter().map(|(cid, bytes)| (cid, bytes.to_vec())));
        let tipsets = saved
            .tipsets
            .into_iter()
            .map(SavedTipset::restore)
            .collect::<anyhow::Result<_>>()
            .map_err(|e| corrupt(&e))?;
        let mut devnet = Self::restore(saved.genesis, verifier, blocks, tipsets, saved.branch, saved.verdicts);
        let waiting: Vec<Included> =
            saved.waiting.iter().map(included).collect::<anyhow::Result<_>>().map_err(|e| corrupt(&e))?;
        let ledger = devnet.ledger_after_head().map_err(|e| corrupt(&e))?;
        devnet.mempool.put_back(&ledger, waiting);
        Ok(devnet)
    }

    /// Writes the chain to a file, whole or not at all.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        Ok(host::durable::write(path, &self.to_snapshot()?)?)
    }

    /// Reads a chain from a file; `None` when there is none.
    pub fn load(path: &Path, verifier: Arc<dyn Verifier>) -> Result<Option<Self>, BadSnapshot> {
        host::durable::read(path)?.map(|bytes| Self::from_snapshot(&bytes, verifier)).transpose()
    }

    /// Another chain that shares this one's past.
    pub fn fork(&self, verifier: Arc<dyn Verifier>) -> anyhow::Result<Self> {
        Ok(Self::from_snapshot(&self.to_snapshot()?, verifier)?)
    }
}

fn body(bytes: &[u8]) -> Result<&[u8], BadSnapshot> {
    let corrupt = |reason: &str| BadSnapshot::Corrupt(reason.to_owned());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| corrupt("magic is missing"))?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(|| corrupt("it is cut short"))?;
    let version = u32::from_be_bytes(*version);
    if version > VERSION {
        return Err(BadSnapshot::TooNew { found: version });
    }
    let (digest, body) = rest.split_first_chunk::<32>().ok_or_else(|| corrupt("it is cut short"))?;
    if blake2b_256(body) != *digest {
        return Err(corrupt("its digest does not match"));
    }
    Ok(body)
}

impl SavedTipset {
    fn of(tipset: &Tipset) -> anyhow::Result<Self> {
        Ok(Self {
            cid: tipset.cid,
            header: tipset.header.clone(),
            messages: tipset.messages.iter().map(raw).collect::<anyhow::Result<_>>()?,
            receipts: tipset.receipts.clone(),
            after: tipset.after,
        })
    }

    fn restore(self) -> anyhow::Result<Tipset> {
        Ok(Tipset {
            cid: self.cid,
            header: self.header,
            messages: self.messages.iter().map(included).collect::<anyhow::Result<_>>()?,
            receipts: self.receipts,
            after: self.after,
        })
    }
}

fn raw(included: &Included) -> anyhow::Result<RawBytes> {
    Ok(RawBytes::new(included.signed.to_cbor()?))
}

fn included(bytes: &RawBytes) -> anyhow::Result<Included> {
    let signed = SignedMessage::from_cbor(bytes.bytes())?;
    Ok(Included { cid: signed.cid()?, signed })
}
