//! Work on one partition of one window, from challenge to proof.
//!
//! ```text
//!   to prove ──► vanilla tasks, one a place ──► vanilla parts ──► one SNARK task ──► proof ──► POSTS ──► message
//!        ▲                │ unreadable                                │ failed
//!        └── next store ──┘                                           └── again, at the next head
//! ```
//!
//! Window PoSt challenges of V1.1 proofs depend on a sector and the randomness, never on the sector's neighbours
//! (`storage-proofs-post` `get_challenge_index`, API version 1.2): so a part stays good when other sectors of the
//! partition are skipped, and only what could not be read is asked for again.
//!
//! Every task of a partition has an attempt number of its own, so that a result, however late, says what it answers.

use std::collections::{BTreeMap, BTreeSet};

use streams::{
    id::{Epoch, Place, SectorNumber, StoreId},
    message::{PostSector, VanillaPart},
};

use crate::facts::{Located, PartitionFacts, Target};

/// A sector reported unreadable this often at a store is not asked for there again.
const UNREADABLE_TIMES_MAX: u32 = 2;
/// After so many failed SNARKs the vanilla proofs themselves are suspected and made anew.
const SNARK_FAILURES_PER_ROUND: u32 = 3;

/// What this poster has done about one partition. Lost with the process, at the cost of time only: tasks, results
/// and proofs are in streams and buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartitionWork {
    /// The last attempt number given.
    attempts: u32,
    tasks: BTreeMap<u32, Handed>,
    parts: Vec<VanillaPart>,
    unreadable: BTreeMap<(SectorNumber, StoreId), Unreadable>,
    snark_failures: u32,
    /// The head at which the chain was first seen to have it.
    pub(crate) seen_at: Option<Epoch>,
    /// Messages that carried it and failed on chain.
    pub(crate) failed_sends: u32,
    /// The close found it unproven, and that was said.
    pub(crate) given_up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Handed {
    order: Order,
    since: Epoch,
    failed_at: Option<Epoch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unreadable {
    times: u32,
    reason: String,
}

/// A task: what to do, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Vanilla proofs of these sectors, at this place.
    Vanilla { place: Place, sectors: Vec<PostSector> },
    /// The SNARK over these parts, anywhere.
    Snark { sectors: Vec<PostSector>, vanilla: Vec<VanillaPart> },
}

impl Order {
    /// Its sectors' numbers, ascending.
    pub(crate) fn numbers(&self) -> Vec<SectorNumber> {
        let (Self::Vanilla { sectors, .. } | Self::Snark { sectors, .. }) = self;
        sectors.iter().map(|sector| sector.number).collect()
    }
}

/// Why a result was not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unused {
    /// It answers no task of this run.
    #[error("no task of this partition has attempt {0}")]
    NoSuchTask(u32),
    /// It is about other sectors, or from another place, than the task with its number.
    #[error("it does not answer the task with attempt {0}")]
    AnswersAnother(u32),
    /// Its sectors are covered already.
    #[error("its sectors are covered already")]
    Covered,
}

impl PartitionWork {
    /// The attempt number of the next task.
    pub(crate) const fn next_attempt(&self) -> u32 {
        self.attempts.saturating_add(1)
    }

    /// A task was handed out at `head`.
    pub(crate) fn handed_out(&mut self, attempt: u32, order: Order, head: Epoch) {
        self.attempts = self.attempts.max(attempt);
        self.tasks.insert(attempt, Handed { order, since: head, failed_at: None });
    }

    /// Vanilla proofs came from `place`.
    pub(crate) fn vanilla_came(
        &mut self,
        attempt: u32,
        place: &Place,
        part: VanillaPart,
        bad: &[(SectorNumber, String)],
    ) -> Result<(), Unused> {
        let handed = self.tasks.get(&attempt).ok_or(Unused::NoSuchTask(attempt))?;
        let Order::Vanilla { place: asked, sectors } = &handed.order else {
            return Err(Unused::AnswersAnother(attempt));
        };
        let answered: BTreeSet<_> = part.sectors.iter().copied().chain(bad.iter().map(|(number, _)| *number)).collect();
        let wanted: BTreeSet<_> = sectors.iter().map(|sector| sector.number).collect();
        if place != asked || answered != wanted || part.sectors.len().saturating_add(bad.len()) != wanted.len() {
            return Err(Unused::AnswersAnother(attempt));
        }
        let stores: BTreeMap<_, _> = sectors.iter().map(|sector| (sector.number, sector.store)).collect();
        for (number, reason) in bad {
            if let Some(store) = stores.get(number) {
                self.note_unreadable(*number, *store, reason);
            }
        }
        self.tasks.remove(&attempt);
        if part.sectors.is_empty() {
            return Ok(());
        }
        let covered = self.covered();
        if part.sectors.iter().any(|number| covered.contains(number)) {
            return Err(Unused::Covered);
        }
        self.parts.push(part);
        Ok(())
    }

    fn note_unreadable(&mut self, number: SectorNumber, store: StoreId, reason: &str) {
        let entry = self.unreadable.entry((number, store)).or_insert(Unreadable { times: 0, reason: String::new() });
        entry.times = entry.times.saturating_add(1);
        reason.clone_into(&mut entry.reason);
    }

    /// The sectors a SNARK of this attempt was asked for, when this run asked.
    pub(crate) fn snark_sectors(&self, attempt: u32) -> Option<Vec<SectorNumber>> {
        match self.tasks.get(&attempt) {
            Some(Handed { order: order @ Order::Snark { .. }, .. }) => Some(order.numbers()),
            _ => None,
        }
    }

    /// A task failed, or its result was no proof; it is handed out again at a later head, so that a fault that comes
    /// back at once does not spin.
    pub(crate) fn failed(&mut self, attempt: u32, head: Epoch) -> Result<(), Unused> {
        let handed = self.tasks.get_mut(&attempt).ok_or(Unused::NoSuchTask(attempt))?;
        if handed.failed_at.replace(head).is_some() {
            return Err(Unused::AnswersAnother(attempt));
        }
        if matches!(handed.order, Order::Snark { .. }) {
            self.snark_failures = self.snark_failures.saturating_add(1);
            if self.snark_failures.checked_rem(SNARK_FAILURES_PER_ROUND) == Some(0) {
                self.parts.clear();
            }
        }
        Ok(())
    }

    /// Drops everything that belongs to another challenge.
    pub(crate) fn start_over(&mut self) {
        let (attempts, failed_sends) = (self.attempts, self.failed_sends);
        *self = Self { attempts, failed_sends, ..Self::default() };
    }

    /// Drops parts with sectors that are no longer to be proven: a SNARK over them would not match the chain's list.
    pub(crate) fn keep_to(&mut self, to_prove: &BTreeMap<SectorNumber, Target>) {
        self.parts.retain(|part| part.sectors.iter().all(|number| to_prove.contains_key(number)));
    }

    /// Sectors with a vanilla proof.
    pub(crate) fn covered(&self) -> BTreeSet<SectorNumber> {
        self.parts.iter().flat_map(|part| part.sectors.iter().copied()).collect()
    }

    /// Vanilla proofs made so far.
    pub(crate) fn parts(&self) -> &[VanillaPart] {
        &self.parts
    }

    /// Tasks that are out at `head` and may still be answered: younger than `patience`, and not failed before.
    pub(crate) fn awaited(&self, head: Epoch, patience: Epoch) -> impl Iterator<Item = (u32, &Order, Epoch)> {
        self.tasks.iter().filter_map(move |(attempt, handed)| {
            let waiting = match handed.failed_at {
                Some(failed_at) => failed_at >= head,
                None => head < handed.since.saturating_add(patience),
            };
            waiting.then_some((*attempt, &handed.order, handed.since))
        })
    }

    /// Whether the task failed: it is not open any more, though it is still waited out.
    pub(crate) fn has_failed(&self, attempt: u32) -> bool {
        self.tasks.get(&attempt).is_some_and(|handed| handed.failed_at.is_some())
    }

    /// The replica to read next: the one reported unreadable least often, the preferred one first; none when every
    /// one was tried enough.
    pub(crate) fn replica_for<'a>(&self, number: SectorNumber, target: &'a Target) -> Option<&'a Located> {
        let times = |at: &Located| self.unreadable.get(&(number, at.store)).map_or(0, |entry| entry.times);
        target.replicas.iter().filter(|at| times(at) < UNREADABLE_TIMES_MAX).min_by_key(|at| times(at))
    }

    /// Why a sector is left out of a proof.
    pub(crate) fn why_skipped(&self, number: SectorNumber, target: &Target) -> String {
        let reasons: Vec<_> = target
            .replicas
            .iter()
            .filter_map(|at| {
                let entry = self.unreadable.get(&(number, at.store))?;
                Some(format!("{} (store {} at {})", entry.reason, at.store, at.place))
            })
            .collect();
        match (target.replicas.as_slice(), reasons.is_empty()) {
            ([], _) => "no record says where its replica is".to_owned(),
            ([at, ..], true) => format!("no answer from place {}", at.place),
            (_, false) => reasons.join("; "),
        }
    }

    /// Every sector to prove that is not in `proven`, with the reason.
    pub(crate) fn skipped(&self, facts: &PartitionFacts, proven: &[SectorNumber]) -> Vec<(SectorNumber, String)> {
        facts
            .to_prove
            .iter()
            .filter(|(number, _)| !proven.contains(number))
            .map(|(number, target)| (*number, self.why_skipped(*number, target)))
            .collect()
    }
}
