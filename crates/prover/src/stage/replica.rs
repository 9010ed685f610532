//! Whether files are those of the replica that the chain has.
//!
//! The library makes a vanilla proof of any files that fit each other: those of another sector too, or of an earlier
//! sealing of the same one. Only the verifier would find out, from the proof of a whole partition, and could not say
//! which sector it was. CommR is the hash of the two roots in `p_aux`, and the proof holds the files to the second of
//! them.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use filecoin_hashers::{
    Domain as _, HashFunction as _,
    poseidon::{PoseidonDomain, PoseidonFunction},
};
use streams::proof::Commitment;

const P_AUX: &str = "p_aux";
const NODE_BYTES: usize = 32;

/// Fails when the cache folder's roots are of another replica than `comm_r`.
pub(super) fn require(cache: &Path, comm_r: Commitment) -> anyhow::Result<()> {
    let path = cache.join(P_AUX);
    let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let (Some(comm_c), Some(comm_r_last), true) =
        (bytes.get(..NODE_BYTES), bytes.get(NODE_BYTES..), bytes.len() == 2 * NODE_BYTES)
    else {
        bail!("{} has {} bytes, and not two roots of {NODE_BYTES}", path.display(), bytes.len());
    };
    let node = |bytes| PoseidonDomain::try_from_bytes(bytes).with_context(|| format!("read {}", path.display()));
    let found = PoseidonFunction::hash2(&node(comm_c)?, &node(comm_r_last)?).into_bytes();
    if found != comm_r.0 {
        let found = found.try_into().map(streams::proof::Bytes32).map_or_else(|_| "none".to_owned(), |r| r.to_string());
        bail!("the replica is not the one on chain: its CommR is {found}, and not {comm_r}");
    }
    Ok(())
}
