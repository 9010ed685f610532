//! How many tasks of each class this agent runs at once.

use std::collections::{BTreeMap, BTreeSet};

use streams::stage::Class;

/// Cores that one PC1 keeps busy: one hashes the labels, its producers fetch the parents.
const PC1_CORES: usize = 4;

/// What the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// Whether it has a GPU.
    pub(crate) gpu: bool,
}

/// Why an agent cannot serve what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadClasses {
    /// Nothing to do.
    #[error("no class to serve")]
    None,
    /// A class that promises a GPU, and there is none.
    #[error("class {0} needs a GPU, and this host has none (no /dev/nvidia*, no /dev/dri)")]
    NoGpu(Class),
    /// A class without a slot would take nothing, for ever.
    #[error("classes.{0}.slots = 0: a class that is served needs at least one slot")]
    NoSlots(Class),
}

/// Slots by class, the `io` slot of bound classes included.
pub(crate) fn slots(
    asked: &[Class],
    configured: &BTreeMap<Class, u32>,
    machine: Machine,
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
    if let Some(class) = classes.iter().find(|c| c.wants_gpu() && !machine.gpu && !allow_cpu) {
        return Err(BadClasses::NoGpu(*class));
    }
    classes
        .into_iter()
        .map(|class| match configured.get(&class).copied() {
            Some(0) => Err(BadClasses::NoSlots(class)),
            Some(slots) => Ok((class, slots)),
            None => Ok((class, default_slots(class, machine))),
        })
        .collect()
}

fn default_slots(class: Class, machine: Machine) -> u32 {
    match class {
        Class::Pc1Cpu => u32::try_from(machine.cores / PC1_CORES).unwrap_or(1).max(1),
        Class::Pc2Gpu | Class::C2Gpu | Class::Io | Class::PostIo | Class::PostGpu => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Machine = Machine { cores: 2, gpu: false };

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
        assert!(slots(&[Class::Pc2Gpu], &BTreeMap::new(), Machine { gpu: true, ..SMALL }, false).is_ok());
    }

    #[test]
    fn pc1_slots_follow_the_cores_and_config_wins() {
        let big = Machine { cores: 64, gpu: false };
        assert_eq!(slots(&[Class::Pc1Cpu], &BTreeMap::new(), big, false).unwrap().get(&Class::Pc1Cpu), Some(&16));
        let configured = BTreeMap::from([(Class::Pc1Cpu, 3)]);
        assert_eq!(slots(&[Class::Pc1Cpu], &configured, big, false).unwrap().get(&Class::Pc1Cpu), Some(&3));
    }

    #[test]
    fn no_class_and_no_slot_are_refused() {
        assert_eq!(slots(&[], &BTreeMap::new(), SMALL, true), Err(BadClasses::None));
        let configured = BTreeMap::from([(Class::C2Gpu, 0)]);
        assert_eq!(slots(&[Class::C2Gpu], &configured, SMALL, true), Err(BadClasses::NoSlots(Class::C2Gpu)));
    }
}
