//! Tipsets, and what blocks are made of.

use serde::{Deserialize, Serialize};

use super::SignatureJson;
use crate::json::{AddressJson, Base64, CidJson, TokenJson, null_as_empty};

shapes! {
    /// A tipset.
    TipSetJson {
        cids: Vec<CidJson>,
        blocks: Vec<BlockHeaderJson>,
        height: i64,
    }

    /// A block header. Members that only consensus uses are optional.
    BlockHeaderJson {
        miner: AddressJson,
        #[serde(default)]
        ticket: Option<TicketJson>,
        #[serde(default)]
        election_proof: Option<ElectionProofJson>,
        #[serde(default, deserialize_with = "null_as_empty")]
        beacon_entries: Vec<BeaconEntryJson>,
        #[serde(default, rename = "WinPoStProof", deserialize_with = "null_as_empty")]
        win_post_proof: Vec<PoStProofJson>,
        #[serde(default, deserialize_with = "null_as_empty")]
        parents: Vec<CidJson>,
        #[serde(default)]
        parent_weight: TokenJson,
        height: i64,
        parent_state_root: CidJson,
        parent_message_receipts: CidJson,
        messages: CidJson,
        #[serde(default, rename = "BLSAggregate")]
        bls_aggregate: Option<SignatureJson>,
        timestamp: u64,
        #[serde(default)]
        block_sig: Option<SignatureJson>,
        #[serde(default)]
        fork_signaling: u64,
        #[serde(default)]
        parent_base_fee: TokenJson,
    }

    /// A ticket.
    TicketJson {
        #[serde(rename = "VRFProof")]
        vrf_proof: Base64,
    }

    /// An election proof.
    ElectionProofJson {
        win_count: i64,
        #[serde(rename = "VRFProof")]
        vrf_proof: Base64,
    }

    /// An entry of the beacon.
    BeaconEntryJson {
        round: u64,
        data: Base64,
    }

    /// A PoSt proof.
    PoStProofJson {
        #[serde(rename = "PoStProof")]
        post_proof: i64,
        proof_bytes: Base64,
    }

    /// One of `ChainNotify`: `current`, `apply` or `revert`.
    HeadChangeJson {
        r#type: String,
        val: TipSetJson,
    }
}
