//! Commitments as CIDs, and CIDs of objects.

use cid::Cid;
use fvm_shared::commcid;
use multihash_codetable::{Code, MultihashDigest as _};
use streams::proof::{Bytes32, Commitment};

/// The multicodec of DAG-CBOR.
pub const DAG_CBOR: u64 = 0x71;

/// A CID that is not a commitment of the expected kind, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CID {cid} is not valid here: {reason}")]
pub struct BadCid {
    cid: String,
    reason: String,
}

impl BadCid {
    fn new(cid: impl ToString, reason: impl ToString) -> Self {
        Self { cid: cid.to_string(), reason: reason.to_string() }
    }
}

/// CommR as the chain writes it.
pub fn sealed(comm_r: &Commitment) -> Result<Cid, BadCid> {
    commcid::replica_commitment_v1_to_cid(&comm_r.0).map_err(|e| BadCid::new(comm_r, e))
}

/// CommD, or a piece's commitment, as the chain writes it.
pub fn unsealed(comm_d: &Commitment) -> Result<Cid, BadCid> {
    commcid::data_commitment_v1_to_cid(&comm_d.0).map_err(|e| BadCid::new(comm_d, e))
}

/// The CommR in a sealed CID.
pub fn comm_r(cid: &Cid) -> Result<Commitment, BadCid> {
    commcid::cid_to_replica_commitment_v1(cid).map(Bytes32).map_err(|e| BadCid::new(cid, e))
}

/// The CommD in an unsealed CID.
pub fn comm_d(cid: &Cid) -> Result<Commitment, BadCid> {
    commcid::cid_to_data_commitment_v1(cid).map(Bytes32).map_err(|e| BadCid::new(cid, e))
}

/// The CID of a DAG-CBOR object: version 1, blake2b-256.
#[must_use]
pub fn of_cbor(bytes: &[u8]) -> Cid {
    Cid::new_v1(DAG_CBOR, Code::Blake2b256.digest(bytes))
}

/// Reads a CID.
pub fn parse(text: &str) -> Result<Cid, BadCid> {
    text.parse().map_err(|e| BadCid::new(text, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commitments_survive_the_way_there_and_back() {
        let bytes = Bytes32([7; 32]);
        assert_eq!(comm_r(&sealed(&bytes).unwrap()), Ok(bytes));
        assert_eq!(comm_d(&unsealed(&bytes).unwrap()), Ok(bytes));
        assert!(comm_r(&unsealed(&bytes).unwrap()).is_err(), "a data commitment is no replica commitment");
        let zero_32_gib = "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq";
        let commitment = comm_d(&parse(zero_32_gib).unwrap()).unwrap();
        assert_eq!(unsealed(&commitment).unwrap().to_string(), zero_32_gib);
    }
}
