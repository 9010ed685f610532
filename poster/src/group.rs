//! Which partitions can share one `SubmitWindowedPoSt`.
//!
//! A message carries one proof over the sectors of all its partitions. The proof system sorts those sectors by number
//! and cuts them into circuits of a full partition each; the partitions' own proofs, put end to end, are that proof
//! only if the cuts fall between partitions: all but the last are full, and their numbers ascend from one to the next.

use streams::{id::SectorNumber, records::PostRecord};

/// The actor's limit, whatever is configured (`posted_partitions_max`).
pub(crate) const PARTITIONS_PER_MESSAGE_MAX: usize = 3;

/// A proven partition, by what decides whether it can share a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    partition: u64,
    sectors: u64,
    first: SectorNumber,
    last: SectorNumber,
}

impl Ready {
    /// What a stored proof says.
    pub(crate) fn of(partition: u64, record: &PostRecord) -> Self {
        let numbers = record.proven.iter().copied();
        Self {
            partition,
            sectors: u64::try_from(record.proven.len()).unwrap_or(u64::MAX),
            first: numbers.clone().min().unwrap_or(SectorNumber(0)),
            last: numbers.max().unwrap_or(SectorNumber(0)),
        }
    }
}

/// Cuts partitions, ascending, into messages.
pub(crate) fn groups(ready: &[Ready], per_message: usize, full: u64) -> Vec<Vec<u64>> {
    let limit = per_message.clamp(1, PARTITIONS_PER_MESSAGE_MAX);
    let mut messages: Vec<Vec<u64>> = Vec::new();
    let mut last: Option<&Ready> = None;
    for next in ready {
        let joins = last.is_some_and(|last| last.sectors == full && last.last < next.first);
        match messages.last_mut() {
            Some(message) if joins && message.len() < limit => message.push(next.partition),
            _ => messages.push(vec![next.partition]),
        }
        last = Some(next);
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(partition: u64, sectors: u64, first: u64) -> Ready {
        let last = SectorNumber(first + sectors - 1);
        Ready { partition, sectors, first: SectorNumber(first), last }
    }

    #[test]
    fn full_ascending_partitions_share_a_message() {
        let all: Vec<_> = (0..7).map(|p| ready(p, 2, p * 2)).collect();
        assert_eq!(groups(&all, 3, 2), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        assert_eq!(groups(&all, 1, 2).len(), 7, "one by default");
        assert_eq!(groups(&all, 99, 2)[0].len(), PARTITIONS_PER_MESSAGE_MAX, "never more than the actor takes");
        assert!(groups(&[], 3, 2).is_empty());
    }

    #[test]
    fn a_partition_that_is_not_full_ends_its_message() {
        let all = [ready(0, 2, 0), ready(1, 1, 2), ready(2, 2, 4)];
        assert_eq!(groups(&all, 3, 2), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn partitions_whose_numbers_do_not_ascend_stay_apart() {
        let all = [ready(0, 2, 10), ready(1, 2, 4)];
        assert_eq!(groups(&all, 3, 2), [vec![0], vec![1]]);
    }
}
