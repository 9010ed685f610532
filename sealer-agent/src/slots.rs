//! How many tasks of each class this agent runs at once.

use std::collections::{BTreeMap, BTreeSet};

use streams::{
    proof::SealProof,
    stage::{Class, Stage},
};

use crate::machine::{activity::Activity, book::Means, needs};

/// Cores that one PC1 keeps busy: one hashes the labels, its producers fetch the parents.
const PC1_CORES: u32 = 4;

/// Why an agent cannot serve what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadClasses {
    /// Nothing to do.
    #[error("no class to serve")]
    None,
    /// A class that promises a GPU, and there is none.
    #[error(
        "class {0} needs a GPU, and this host has none (no /dev/nvidia*, no /dev/dri, and machine.gpus does not say otherwise)"
    )]
    NoGpu(Class),
    /// A class without a slot would take nothing, for ever.
    #[error("classes.{0}.slots = 0: a class that is served needs at least one slot")]
    NoSlots(Class),
}

/// Slots by class, the `io` slot of bound classes included.
pub(crate) fn slots(
    asked: &[Class],
    configured: &BTreeMap<Class, u32>,
    means: Means,
    sectors: Option<SealProof>,
    allow_cpu: bool,
) -> Result<BTreeMap<Class, u32>, BadClasses> {
    let mut classes: BTreeSet<Class> = asked.iter().copied().collect();
    if classes.is_empty() {
        return Err(BadClasses::None);
    }
    // Whoever works beside the disks also does the small work beside them: without it a sector placed here would
    // wait for an agent that nobody thought of.
    if classes.iter().any(|c| c.has_bound_tasks() && !c.is_post()) {
        classes.insert(Class::Io);
    }
    if let Some(class) = classes.iter().find(|c| c.wants_gpu() && means.gpus == 0 && !allow_cpu) {
        return Err(BadClasses::NoGpu(*class));
    }
    classes
        .into_iter()
        .map(|class| match configured.get(&class).copied() {
            Some(0) => Err(BadClasses::NoSlots(class)),
            Some(slots) => Ok((class, slots)),
            None => Ok((class, default_slots(class, means, sectors))),
        })
        .collect()
}

/// PC1 by cores, and by memory where the sectors are known; a GPU class one a GPU.
fn default_slots(class: Class, means: Means, sectors: Option<SealProof>) -> u32 {
    match class {
        Class::Pc1Cpu => {
            let by_cores = means.cores / PC1_CORES;
            let bytes = sectors.map(|proof| needs::need(Activity::Stage(Stage::Pc1), proof, 0, false).memory_bytes);
            let by_memory = bytes.and_then(|bytes| u32::try_from(means.memory_bytes.checked_div(bytes)?).ok());
            by_cores.min(by_memory.unwrap_or(u32::MAX)).max(1)
        }
        Class::Pc2Gpu | Class::C2Gpu | Class::PostGpu => means.gpus.max(1),
        Class::Io | Class::PostIo => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Means = Means { cores: 2, memory_bytes: 8 << 30, gpus: 0 };

    fn slots(
        asked: &[Class],
        configured: &BTreeMap<Class, u32>,
        means: Means,
        allow_cpu: bool,
    ) -> Result<BTreeMap<Class, u32>, BadClasses> {
        super::slots(asked, configured, means, None, allow_cpu)
    }

    #[test]
    fn a_bound_class_brings_one_io_slot() {
        let slots = slots(&[Class::Pc1Cpu], &BTreeMap::new(), SMALL, false).unwrap();
        assert_eq!(slots, BTreeMap::from([(Class::Pc1Cpu, 1), (Class::Io, 1)]));
    }

    #[test]
    fn a_free_class_brings_nothing() {
        let slots = slots(&[Class::C2Gpu], &BTreeMap::new(), SMALL, true).unwrap();
        assert_eq!(slots, BTreeMap::from([(Class::C2Gpu, 1)]));
    }

    #[test]
    fn a_gpu_class_without_gpu_is_refused_unless_allowed() {
        assert_eq!(slots(&[Class::Pc2Gpu], &BTreeMap::new(), SMALL, false), Err(BadClasses::NoGpu(Class::Pc2Gpu)));
        assert!(slots(&[Class::Pc2Gpu], &BTreeMap::new(), SMALL, true).is_ok());
        assert!(slots(&[Class::Pc2Gpu], &BTreeMap::new(), Means { gpus: 1, ..SMALL }, false).is_ok());
    }

    #[test]
    fn pc1_slots_follow_the_cores_and_config_wins() {
        let big = Means { cores: 64, memory_bytes: 512 << 30, gpus: 0 };
        assert_eq!(slots(&[Class::Pc1Cpu], &BTreeMap::new(), big, false).unwrap().get(&Class::Pc1Cpu), Some(&16));
        let sized =
            super::slots(&[Class::Pc1Cpu], &BTreeMap::new(), big, Some(SealProof::Drg32GiBV1_1), false).unwrap();
        assert_eq!(sized.get(&Class::Pc1Cpu), Some(&9), "512 GiB hold nine PC1 of 32 GiB");
        let configured = BTreeMap::from([(Class::Pc1Cpu, 3)]);
        assert_eq!(slots(&[Class::Pc1Cpu], &configured, big, false).unwrap().get(&Class::Pc1Cpu), Some(&3));
    }

    #[test]
    fn gpu_slots_follow_the_gpus() {
        let slots =
            slots(&[Class::C2Gpu, Class::PostGpu], &BTreeMap::new(), Means { gpus: 4, ..SMALL }, false).unwrap();
        assert_eq!(slots, BTreeMap::from([(Class::C2Gpu, 4), (Class::PostGpu, 4)]));
    }

    #[test]
    fn no_class_and_no_slot_are_refused() {
        assert_eq!(slots(&[], &BTreeMap::new(), SMALL, true), Err(BadClasses::None));
        let configured = BTreeMap::from([(Class::C2Gpu, 0)]);
        assert_eq!(slots(&[Class::C2Gpu], &configured, SMALL, true), Err(BadClasses::NoSlots(Class::C2Gpu)));
    }
}
