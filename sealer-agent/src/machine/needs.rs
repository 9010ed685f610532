//! What a job of each kind and sector size takes.
//!
//! | | cores | memory | |
//! |---|---|---|---|
//! | pc1 | 4: one hashes, three fetch parents | two layers, less what is not resident: 1.75 times the sector | |
//! | pc2 | 1 beside the GPU | half the sector and 1 GiB | GPU |
//! | c2 | 1 beside the GPU | twice the sector, at least 2.5 GiB (5.5 GiB at 512 MiB) | GPU |
//! | window-post | none: it never waits for a seal's cores | twice the sector, at least 1 GiB | GPU |
//! | tree-d | none | an eighth of the sector | |
//! | the rest | none: disks and waiting | 64 MiB | |
//!
//! The figures of 32 and 64 GiB are those that Lotus schedules by (56 GiB for a PC1, 15 for a PC2, 62 for a C2 or a window
//! PoSt of 32 GiB), rounded up; those of 2 KiB to 512 MiB were measured. A stage's section in the configuration overrides
//! them.

use streams::{proof::SealProof, stage::Stage};

use super::{activity::Activity, book::Need};

const MIB: u64 = 1 << 20;
const SMALL: u64 = 64 * MIB;

/// What a job takes by this table. `pc1_cores` are what the machine has for one PC1; without a GPU nobody waits for one.
pub(crate) fn need(activity: Activity, proof: SealProof, pc1_cores: u32, has_gpu: bool) -> Need {
    let s = proof.sector_size();
    let of_disks = Need { cores: 0, memory_bytes: SMALL, gpu: false };
    match activity {
        Activity::Stage(Stage::Place) => Need::default(),
        Activity::Stage(Stage::Pc1) => Need { cores: pc1_cores, memory_bytes: s / 4 * 7 + SMALL, gpu: false },
        Activity::Stage(Stage::Pc2) => {
            Need { cores: u32::from(has_gpu), memory_bytes: s / 2 + 1024 * MIB, gpu: has_gpu }
        }
        Activity::Stage(Stage::C2) => Need { cores: u32::from(has_gpu), memory_bytes: c2_bytes(proof), gpu: has_gpu },
        Activity::WindowPost => Need { cores: 0, memory_bytes: (2 * s).max(1024 * MIB), gpu: has_gpu },
        Activity::Stage(Stage::TreeD) => Need { memory_bytes: s / 8 + SMALL, ..of_disks },
        Activity::Stage(Stage::AddPiece | Stage::Persist | Stage::C1 | Stage::Finalize | Stage::Unseal)
        | Activity::VanillaPost => of_disks,
    }
}

const fn c2_bytes(proof: SealProof) -> u64 {
    match proof {
        SealProof::Drg2KiBV1_1 | SealProof::Drg8MiBV1_1 => 2560 * MIB,
        SealProof::Drg512MiBV1_1 => 5632 * MIB,
        SealProof::Drg32GiBV1_1 | SealProof::Drg64GiBV1_1 => 2 * proof.sector_size(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gib(activity: Activity, proof: SealProof) -> u64 {
        need(activity, proof, 4, true).memory_bytes.div_ceil(1 << 30)
    }

    #[test]
    fn the_table_holds_what_others_schedule_by() {
        let proof = SealProof::Drg32GiBV1_1;
        assert!((56..=57).contains(&gib(Activity::Stage(Stage::Pc1), proof)));
        assert!((15..=17).contains(&gib(Activity::Stage(Stage::Pc2), proof)));
        assert!((62..=64).contains(&gib(Activity::Stage(Stage::C2), proof)));
        assert_eq!(gib(Activity::Stage(Stage::C2), SealProof::Drg2KiBV1_1), 3);
    }

    #[test]
    fn a_larger_sector_never_takes_less() {
        for activity in Activity::all() {
            let sizes = SealProof::ALL.map(|proof| need(activity, proof, 4, true).memory_bytes);
            assert!(sizes.is_sorted(), "{activity}: {sizes:?}");
        }
    }

    #[test]
    fn without_a_gpu_nobody_waits_for_one() {
        assert!(Activity::all().all(|a| !need(a, SealProof::Drg2KiBV1_1, 1, false).gpu));
    }
}
