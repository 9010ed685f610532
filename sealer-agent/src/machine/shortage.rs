//! What there is too little of.

use std::fmt;

use super::activity::Activity;

/// Why a job cannot start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shortage {
    Cores { need: u32, free: u32, total: u32 },
    Memory { need: u64, free: u64, total: u64 },
    Gpu { total: u32 },
    Lock { name: String },
    AtOnce { max: u32 },
    Stagger { until_ms: u64 },
    Yields { to: Activity, until_ms: u64 },
}

impl Shortage {
    /// When it ends by itself, if it does.
    pub(crate) const fn until_ms(&self) -> Option<u64> {
        match self {
            Self::Stagger { until_ms } | Self::Yields { until_ms, .. } => Some(*until_ms),
            Self::Cores { .. } | Self::Memory { .. } | Self::Gpu { .. } | Self::Lock { .. } | Self::AtOnce { .. } => {
                None
            }
        }
    }

    /// Whether it can end at all.
    pub(super) const fn is_for_good(&self) -> bool {
        match self {
            Self::Cores { need, total, .. } => *need > *total,
            Self::Memory { need, total, .. } => *need > *total,
            Self::Gpu { total } => *total == 0,
            Self::Lock { .. } | Self::AtOnce { .. } | Self::Stagger { .. } | Self::Yields { .. } => false,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: &u64| bytes.div_ceil(1 << 30);
        match self {
            Self::Cores { need, free, total } => write!(f, "needs {need} cores, {free} of {total} are free"),
            Self::Memory { need, free, total } => {
                write!(f, "needs {} GiB of memory, {} of {} GiB are free", gib(need), free >> 30, gib(total))
            }
            Self::Gpu { total: 0 } => f.write_str("needs a GPU, and there is none"),
            Self::Gpu { total } => write!(f, "needs a GPU, and all {total} are taken"),
            Self::Lock { name } => write!(f, "lock \"{name}\" is held"),
            Self::AtOnce { max } => write!(f, "{max} run already, and no more may at once"),
            Self::Stagger { .. } => f.write_str("the last one has only just started"),
            Self::Yields { to, .. } => write!(f, "{to} comes first"),
        }
    }
}
