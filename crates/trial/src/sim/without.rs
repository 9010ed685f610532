//! Mechanisms that can be taken away, to show that the simulator would see it.

use std::{fmt, str::FromStr};

/// A mechanism. Each is taken away in what the services stand on, so shipped code has no switch for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// Every compare-and-set on records and claims is granted, whatever revision it names.
    Fence,
    /// The outbox forgets what it is given.
    Journal,
    /// A sector's folder and its key in `LOCKS` are granted to everybody.
    Lock,
    /// No pass but the one at the start.
    Reconciler,
    /// Results always look settled.
    Drain,
}

impl Without {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fence, Self::Journal, Self::Lock, Self::Reconciler, Self::Drain];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fence => "fence",
            Self::Journal => "journal",
            Self::Lock => "lock",
            Self::Reconciler => "reconciler",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Without {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| format!("\"{text}\" is no mechanism: fence, journal, lock, reconciler or drain"))
    }
}
