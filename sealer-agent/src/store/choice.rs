//! Which persistent store a replica goes to, and why. Pure: the same stores in the same state give the same answer.
//!
//! A store is passed over when it is set aside, retired, read-only, not for this miner, or too full. Of the others the
//! one with the most room wins, room times weight; of equals the one with the lesser UUID. Weight 0 is the last resort.

use std::{cmp::Reverse, fmt};

use streams::id::{MinerId, StoreId};

use super::{condition::Condition, registered::Entry};

/// A store that may be chosen.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) store: StoreId,
    pub(crate) entry: Entry,
    pub(crate) condition: Condition,
    /// Whether the replica is in it already.
    pub(crate) has_it: bool,
    /// Bytes that can still be promised; nothing where that could not be read.
    pub(crate) room: Option<u64>,
}

/// What is to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) miner: MinerId,
    /// Bytes it takes; nothing when only the miner is asked about.
    pub(crate) bytes: Option<u64>,
}

/// What is to be said of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has the replica: nowhere else.
    HasIt,
    /// It can take it. The highest score wins.
    Fits { room: u64, weight: u32 },
    /// It cannot.
    No(WhyNot),
}

/// Why a store is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhyNot {
    SetAside(Condition),
    Retired,
    ReadOnly,
    Denied(MinerId),
    NotAllowed(MinerId),
    NoRoom { needed: u64, room: u64 },
}

impl Verdict {
    /// What stores are ordered by.
    pub(crate) fn score(&self) -> u128 {
        match self {
            Self::HasIt => u128::MAX,
            // u64 times u32: no more than 96 bits.
            Self::Fits { room, weight } => u128::from(*room).saturating_mul(u128::from(*weight)),
            Self::No(_) => 0,
        }
    }

    pub(crate) const fn is_possible(&self) -> bool {
        matches!(self, Self::HasIt | Self::Fits { .. })
    }
}

/// Judges one store.
pub(crate) fn judge(candidate: &Candidate, wanted: Wanted) -> Verdict {
    let Candidate { entry, condition, has_it, room, .. } = candidate;
    let miner = wanted.miner;
    if *has_it && condition.can_be_read() {
        return Verdict::HasIt;
    }
    let why_not = if !condition.is_ok() {
        WhyNot::SetAside(condition.clone())
    } else if entry.retired_at.is_some() {
        WhyNot::Retired
    } else if entry.read_only {
        WhyNot::ReadOnly
    } else if entry.deny_miners.contains(&miner) {
        WhyNot::Denied(miner)
    } else if !entry.allow_miners.is_empty() && !entry.allow_miners.contains(&miner) {
        WhyNot::NotAllowed(miner)
    } else {
        let (needed, room) = (wanted.bytes.unwrap_or(1), room.unwrap_or(0));
        if room >= needed {
            return Verdict::Fits { room, weight: entry.weight };
        }
        WhyNot::NoRoom { needed, room }
    };
    Verdict::No(why_not)
}

/// All of them with what is said of each, the chosen one first, those that cannot be chosen last.
pub(crate) fn ranked(candidates: Vec<Candidate>, wanted: Wanted) -> Vec<(Candidate, Verdict)> {
    let judged = candidates.into_iter().map(|candidate| {
        let verdict = judge(&candidate, wanted);
        (candidate, verdict)
    });
    let mut judged: Vec<_> = judged.collect();
    judged.sort_by_key(|(candidate, verdict)| {
        (Reverse(verdict.is_possible()), Reverse(verdict.score()), candidate.store)
    });
    judged
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasIt => f.write_str("it has the replica"),
            Self::Fits { room, weight: 0 } => write!(f, "{room} bytes of room, weight 0: the last resort"),
            Self::Fits { room, weight: 1 } => write!(f, "{room} bytes of room"),
            Self::Fits { room, weight } => write!(f, "{room} bytes of room, weight {weight}"),
            Self::No(why_not) => why_not.fmt(f),
        }
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAside(condition) => write!(f, "{}: {condition}", condition.name()),
            Self::Retired => f.write_str("retired: it takes no new sectors"),
            Self::ReadOnly => f.write_str("read_only is set: it is only read from"),
            Self::Denied(miner) => write!(f, "deny_miners names {miner}"),
            Self::NotAllowed(miner) => write!(f, "allow_miners does not name {miner}"),
            Self::NoRoom { needed, room } => write!(f, "{needed} bytes are needed, and {room} are free"),
        }
    }
}

#[cfg(test)]
mod tests {
    use streams::id::Timestamp;

    use super::*;

    const MINER: MinerId = MinerId(1000);

    fn candidate(n: u128, room: u64) -> Candidate {
        let entry = Entry { path: format!("/{n}").into(), persistent: true, ..Entry::default() };
        let store = StoreId(uuid::Uuid::from_u128(n));
        Candidate { store, entry, condition: Condition::Ok, has_it: false, room: Some(room) }
    }

    fn with(n: u128, room: u64, say: impl FnOnce(&mut Entry)) -> Candidate {
        let mut candidate = candidate(n, room);
        say(&mut candidate.entry);
        candidate
    }

    fn order(candidates: Vec<Candidate>) -> Vec<u128> {
        let wanted = Wanted { miner: MINER, bytes: Some(10) };
        let possible = ranked(candidates, wanted).into_iter().filter(|(_, verdict)| verdict.is_possible());
        possible.map(|(candidate, _)| candidate.store.0.as_u128()).collect()
    }

    #[test]
    fn room_times_weight_decides_and_ties_have_an_order() {
        assert_eq!(order(vec![candidate(1, 50), candidate(2, 90)]), [2, 1]);
        assert_eq!(order(vec![with(1, 50, |entry| entry.weight = 2), candidate(2, 90)]), [1, 2]);
        assert_eq!(order(vec![with(1, 900, |entry| entry.weight = 0), candidate(2, 90)]), [2, 1]);
        assert_eq!(order(vec![candidate(2, 50), candidate(1, 50)]), [1, 2]);
        let kept = Candidate { has_it: true, room: None, ..candidate(3, 0) };
        assert_eq!(order(vec![candidate(1, 50), kept]), [3, 1]);
    }

    #[test]
    fn each_reason_to_pass_a_store_over_is_said() {
        let other = MinerId(2000);
        let hanging = Candidate { condition: Condition::Hanging { for_s: 30 }, ..candidate(1, 50) };
        let cases = [
            (hanging, "hanging: it has not answered for 30 s"),
            (with(1, 50, |entry| entry.retired_at = Some(Timestamp(1))), "retired: it takes no new sectors"),
            (with(1, 50, |entry| entry.read_only = true), "read_only is set: it is only read from"),
            (with(1, 50, |entry| entry.deny_miners = vec![MINER]), "deny_miners names f01000"),
            (with(1, 50, |entry| entry.allow_miners = vec![other]), "allow_miners does not name f01000"),
            (candidate(1, 9), "10 bytes are needed, and 9 are free"),
        ];
        for (candidate, words) in cases {
            let verdict = judge(&candidate, Wanted { miner: MINER, bytes: Some(10) });
            assert!(!verdict.is_possible());
            assert_eq!(verdict.to_string(), words);
        }
    }

    #[test]
    fn a_store_that_has_it_is_used_though_it_is_full_or_retired() {
        let mut kept = with(1, 0, |entry| entry.retired_at = Some(Timestamp(1)));
        (kept.has_it, kept.condition) = (true, Condition::Full);
        assert_eq!(judge(&kept, Wanted { miner: MINER, bytes: Some(10) }), Verdict::HasIt);
    }
}
