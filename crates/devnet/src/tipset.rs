//! Tipsets: one block each, since nobody competes here. A null round has none.

use chain::message::SignedMessage;
use cid::Cid;
use fvm_ipld_encoding::{strict_bytes, tuple::*};
use fvm_shared::{
    address::Address,
    bigint::{BigInt, bigint_ser},
    clock::ChainEpoch,
    crypto::signature::Signature,
    econ::TokenAmount,
    receipt::Receipt,
};

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Ticket {
    /// The VRF proof.
    #[serde(with = "strict_bytes")]
    pub vrf_proof: Vec<u8>,
}

/// An election proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ElectionProof {
    /// Wins in this round.
    pub win_count: i64,
    /// The VRF proof.
    #[serde(with = "strict_bytes")]
    pub vrf_proof: Vec<u8>,
}

/// An entry of the beacon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct BeaconEntry {
    /// Its round: here the epoch.
    pub round: u64,
    /// Its data.
    #[serde(with = "strict_bytes")]
    pub data: Vec<u8>,
}

/// A block header, in the order its CBOR has. Nobody signs it.
#[derive(Debug, Clone, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Header {
    /// Who mined: the system actor.
    pub miner: Address,
    /// The ticket.
    pub ticket: Ticket,
    /// None in genesis.
    pub election_proof: Option<ElectionProof>,
    /// Entries of every round since the parent.
    pub beacon_entries: Vec<BeaconEntry>,
    /// None: nobody is elected.
    pub win_post_proof: Vec<u64>,
    /// The parent's key.
    pub parents: Vec<Cid>,
    /// Weight of the chain up to the parent.
    #[serde(with = "bigint_ser")]
    pub parent_weight: BigInt,
    /// Its epoch.
    pub height: ChainEpoch,
    /// State after the parent's messages and every cron before this epoch's.
    pub parent_state_root: Cid,
    /// Receipts of the parent's messages.
    pub parent_message_receipts: Cid,
    /// This block's messages.
    pub messages: Cid,
    /// None: signatures are kept with the messages.
    pub bls_aggregate: Option<Signature>,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// None.
    pub block_sig: Option<Signature>,
    /// Always 0.
    pub fork_signaling: u64,
    /// Base fee of this block's messages.
    pub parent_base_fee: TokenAmount,
}

/// A message in a tipset.
#[derive(Debug, Clone)]
pub struct Included {
    /// Its CID on chain.
    pub cid: Cid,
    /// The message.
    pub signed: SignedMessage,
}

/// A tipset with all it did. A node shows the state *before* its messages, and what they did with its child.
#[derive(Debug, Clone)]
pub struct Tipset {
    /// CID of its block.
    pub cid: Cid,
    /// Its header.
    pub header: Header,
    /// Its messages, in order.
    pub messages: Vec<Included>,
    /// One receipt a message.
    pub receipts: Vec<Receipt>,
    /// State after them and the epoch's cron.
    pub after: Cid,
}
