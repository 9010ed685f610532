//! What to do about one window, decided from facts alone: no clock, no I/O.
//!
//! The same plan is made at every head and after every result; a plan that was carried out leaves nothing for the next
//! one to repeat. Losing a message, a result or the whole process therefore costs time and nothing else: the next
//! plan sees what is missing.

#[cfg(test)]
mod chain_by_hand;
#[cfg(test)]
mod day;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use streams::{
    id::{Epoch, SectorNumber},
    message::PostSector,
    proof::Bytes32,
};

use crate::{
    deadline::{Phase, Timing},
    facts::{Facts, PartitionFacts, Sending},
    group::{Ready, groups},
    partition::{Order, PartitionWork},
};

/// Failed messages for one partition in one window; then a person must look, since each cost gas.
pub(crate) const FAILED_SENDS_MAX: u32 = 3;
/// A message executed with exit code 0 shows in `PostSubmissions` two heads later, unless a reorg took it away.
const SUBMISSION_SHOWS_WITHIN: Epoch = 2;
/// A message still in flight at the close may have landed in the window's last epoch: so many heads are given to its
/// receipt before the partition is called missed.
const RECEIPT_WITHIN: Epoch = 3;

/// What a person sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) timing: Timing,
    /// Partitions in one message.
    pub(crate) partitions_per_message: usize,
    /// Epochs after which what the chain has is believed.
    pub(crate) confidence: Epoch,
}

/// Own work on one window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    randomness: Option<Bytes32>,
    partitions: BTreeMap<u64, PartitionWork>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Publish a task.
    HandOut { partition: u64, attempt: u32, order: Order },
    /// Publish a task of an earlier head again: if it is still open nothing happens, if it was lost it is back.
    Reoffer { partition: u64, attempt: u32, order: Order },
    /// Send the proofs of these partitions in one message.
    Submit { partitions: Vec<u64> },
    /// A message failed on chain: forget it and, while the window is open, send again.
    SendAgain { partition: u64, exit_code: Option<u32> },
    /// The chain has it, deep enough: write that down.
    Landed { partition: u64, epoch: Epoch },
    /// The window closed and the chain does not have these.
    Missed { partitions: Vec<Missed> },
    /// Nothing is left to do about this window.
    Finish,
}

/// A partition that was not proven in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) partition: u64,
    /// Sectors that were to be proven.
    pub(crate) sectors: usize,
    /// How far it came.
    pub(crate) reached: Reached,
}

/// How far a partition came before its window closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No vanilla proof was made.
    Nothing,
    /// Vanilla proofs, no SNARK.
    Vanilla,
    /// A proof, in no message.
    Proof,
    /// A message that did not land in time, or failed.
    Message,
}

impl Ledger {
    /// The work on a partition.
    pub(crate) fn work(&mut self, partition: u64) -> &mut PartitionWork {
        self.partitions.entry(partition).or_default()
    }

    /// The same, to look at.
    pub(crate) fn look(&self, partition: u64) -> Option<&PartitionWork> {
        self.partitions.get(&partition)
    }

    /// Takes in what the chain says now: another challenge voids all work, and what the chain has is noted.
    pub(crate) fn observe(&mut self, facts: &Facts) {
        let reorged = self.randomness.replace(facts.randomness).is_some_and(|before| before != facts.randomness);
        for (index, partition) in &facts.partitions {
            let work = self.work(*index);
            if reorged {
                work.start_over();
            }
            work.keep_to(&partition.to_prove);
            if partition.is_on_chain(&facts.window, facts.head) {
                work.seen_at.get_or_insert(facts.head);
            } else {
                work.seen_at = None;
            }
        }
    }
}

/// What to do about a window, given what is known and what was done.
pub(crate) fn plan(facts: &Facts, ledger: &Ledger, policy: &Policy) -> Vec<Action> {
    let phase = facts.window.phase(facts.head, policy.timing);
    let untouched = PartitionWork::default();
    let mut actions = Vec::new();
    let mut ready = Vec::new();
    for (index, partition) in &facts.partitions {
        let work = ledger.look(*index).unwrap_or(&untouched);
        actions.extend(landed(*index, facts, partition, work, policy));
        if !facts.leading || partition.is_on_chain(&facts.window, facts.head) {
            continue;
        }
        match partition.proof_for(&facts.randomness) {
            Some(record) => match send(facts.head, partition, work) {
                Send::Now => ready.push(Ready::of(*index, record)),
                Send::Forget { exit_code } => actions.push(Action::SendAgain { partition: *index, exit_code }),
                Send::Wait => {}
            },
            None if matches!(phase, Phase::Proving | Phase::Open) => {
                prove(*index, facts, partition, work, &mut actions)
            }
            None => {}
        }
    }
    match phase {
        Phase::Open => {
            let messages = groups(&ready, policy.partitions_per_message, facts.partition_sectors);
            actions.extend(messages.into_iter().map(|partitions| Action::Submit { partitions }));
        }
        Phase::Closed => actions.extend(close(facts, ledger, policy)),
        Phase::Early | Phase::Proving | Phase::Closing => {}
    }
    actions
}

/// Writes down that the chain has a partition once it is deep enough, unless that is written.
fn landed(
    index: u64,
    facts: &Facts,
    partition: &PartitionFacts,
    work: &PartitionWork,
    policy: &Policy,
) -> Option<Action> {
    let seen_at = work.seen_at?;
    let record = partition.record.as_ref()?;
    let deep = facts.head >= seen_at.saturating_add(policy.confidence.max(0));
    (deep && record.landed_at.is_none()).then_some(Action::Landed { partition: index, epoch: seen_at })
}

enum Send {
    Now,
    Wait,
    Forget { exit_code: Option<u32> },
}

/// Whether a partition that has a proof needs a message now.
fn send(head: Epoch, partition: &PartitionFacts, work: &PartitionWork) -> Send {
    match partition.sending {
        Sending::Unsent if work.failed_sends < FAILED_SENDS_MAX => Send::Now,
        Sending::Unsent | Sending::InFlight => Send::Wait,
        Sending::Failed { exit_code } => Send::Forget { exit_code },
        // Executed well, and the state does not show it: a reorg took it away.
        Sending::Accepted { height } if head > height.saturating_add(SUBMISSION_SHOWS_WITHIN) => {
            Send::Forget { exit_code: None }
        }
        Sending::Accepted { .. } => Send::Wait,
    }
}

/// Hands out what a partition without proof lacks.
fn prove(index: u64, facts: &Facts, partition: &PartitionFacts, work: &PartitionWork, actions: &mut Vec<Action>) {
    let head = facts.head;
    let awaited: Vec<_> = work.awaited(head, facts.window.patience()).collect();
    if facts.results_drained {
        let lost = awaited.iter().filter(|(attempt, _, since)| *since < head && !work.has_failed(*attempt));
        actions.extend(lost.map(|(attempt, order, _)| Action::Reoffer {
            partition: index,
            attempt: *attempt,
            order: (*order).clone(),
        }));
    }
    if awaited.iter().any(|(_, order, _)| matches!(order, Order::Snark { .. })) {
        return;
    }
    let covered = work.covered();
    let asked: BTreeSet<_> = awaited.iter().flat_map(|(_, order, _)| order.numbers()).collect();
    let missing = missing(partition, work, &covered, &asked);
    let in_time = !facts.window.is_past_half(head);
    if !covered.is_empty() && (!in_time || (asked.is_empty() && missing.is_empty())) {
        let order = Order::Snark { sectors: snark_sectors(partition, work, &covered), vanilla: work.parts().to_vec() };
        actions.push(Action::HandOut { partition: index, attempt: work.next_attempt(), order });
        return;
    }
    let mut attempt = work.next_attempt();
    for (place, sectors) in missing {
        actions.push(Action::HandOut { partition: index, attempt, order: Order::Vanilla { place, sectors } });
        attempt = attempt.saturating_add(1);
    }
}

/// Sectors without a vanilla proof that nobody was asked for, by the place that should be.
fn missing(
    partition: &PartitionFacts,
    work: &PartitionWork,
    covered: &BTreeSet<SectorNumber>,
    asked: &BTreeSet<SectorNumber>,
) -> BTreeMap<streams::id::Place, Vec<PostSector>> {
    let mut by_place = BTreeMap::<_, Vec<_>>::new();
    for (number, target) in &partition.to_prove {
        if covered.contains(number) || asked.contains(number) {
            continue;
        }
        if let Some(at) = work.replica_for(*number, target) {
            let sector = PostSector { number: *number, comm_r: target.comm_r, store: at.store };
            by_place.entry(at.place.clone()).or_default().push(sector);
        }
    }
    by_place
}

/// The sectors of a SNARK, with the store they were read from where that is still known.
fn snark_sectors(
    partition: &PartitionFacts,
    work: &PartitionWork,
    covered: &BTreeSet<SectorNumber>,
) -> Vec<PostSector> {
    let of = |(number, target): (&SectorNumber, &crate::facts::Target)| {
        let at = work.replica_for(*number, target).or_else(|| target.replicas.first())?;
        Some(PostSector { number: *number, comm_r: target.comm_r, store: at.store })
    };
    partition.to_prove.iter().filter(|(number, _)| covered.contains(number)).filter_map(of).collect()
}

/// What is left once the window is closed.
fn close(facts: &Facts, ledger: &Ledger, policy: &Policy) -> Vec<Action> {
    let mut missed = Vec::new();
    let mut settled = true;
    for (index, partition) in &facts.partitions {
        let work = ledger.look(*index);
        if partition.is_on_chain(&facts.window, facts.head) {
            let deep = |seen_at: Epoch| facts.head >= seen_at.saturating_add(policy.confidence.max(0));
            settled &= work.and_then(|work| work.seen_at).is_some_and(deep);
        } else if partition.sending == Sending::InFlight
            && facts.head < facts.window.close.saturating_add(RECEIPT_WITHIN)
        {
            settled = false;
        } else if !work.is_some_and(|work| work.given_up) {
            let reached = reached(facts, partition, work);
            missed.push(Missed { partition: *index, sectors: partition.to_prove.len(), reached });
        }
    }
    let mut actions = Vec::new();
    if !missed.is_empty() {
        actions.push(Action::Missed { partitions: missed });
    }
    if settled {
        actions.push(Action::Finish);
    }
    actions
}

fn reached(facts: &Facts, partition: &PartitionFacts, work: Option<&PartitionWork>) -> Reached {
    let sent = partition.record.as_ref().is_some_and(|record| record.message.is_some());
    match (partition.proof_for(&facts.randomness), work) {
        _ if sent || work.is_some_and(|work| work.failed_sends > 0) => Reached::Message,
        (Some(_), _) => Reached::Proof,
        (None, Some(work)) if !work.covered().is_empty() => Reached::Vanilla,
        (None, _) => Reached::Nothing,
    }
}
