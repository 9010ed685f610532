//! How many bytes a sector needs in a store.
//!
//! In units of the sector size `s`, as the proofs library writes them: the staged file `s`, the replica `s`, tree-d
//! `2 s`, each layer `s`, tree-c `8/7 s`, and tree-r-last with its top rows only, which is less than `s/32`.
//! Measured at 512 MiB: a cache of 2.76 GB after PC2.

use streams::proof::SealProof;

/// Small files, directories and rounding to blocks.
const SMALL_BYTES: u64 = 256 << 10;

/// Bytes a sector may fill from its placement to its proof.
pub(crate) fn sealing_bytes(proof: SealProof) -> u64 {
    let s = proof.sector_size();
    let layers = u64::from(proof.layers()) * s;
    let tree_c = s / 7 * 8;
    s + s + 2 * s + layers + tree_c + s / 32 + SMALL_BYTES
}

/// Bytes of a replica with what proving needs: what a persistent copy takes, and what remains after finalize.
pub(crate) const fn replica_bytes(proof: SealProof) -> u64 {
    let s = proof.sector_size();
    s + s / 32 + SMALL_BYTES
}

/// Bytes of scratch that reading data back out of a replica takes: the layers again, and the data.
pub(crate) fn unseal_bytes(proof: SealProof) -> u64 {
    let s = proof.sector_size();
    u64::from(proof.layers()) * s + 2 * s + s + SMALL_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_512_mib_sector_fits_what_was_measured() {
        let sector = 512 << 20;
        let measured = 2_760_000_000 + 2 * sector;
        let reserved = sealing_bytes(SealProof::Drg512MiBV1_1);
        assert!(reserved >= measured, "{reserved} < {measured}");
        assert!(reserved < measured + measured / 20, "{reserved} is more than 5 % above {measured}");
    }

    #[test]
    fn a_32_gib_sector_needs_about_half_a_tebibyte() {
        let reserved = sealing_bytes(SealProof::Drg32GiBV1_1);
        assert!((480 << 30..544 << 30).contains(&reserved), "{reserved}");
    }

    #[test]
    fn a_replica_is_little_more_than_the_sector() {
        for proof in SealProof::ALL {
            assert!(replica_bytes(proof) < sealing_bytes(proof), "{proof}");
            assert!(replica_bytes(proof) > proof.sector_size(), "{proof}");
        }
    }
}
