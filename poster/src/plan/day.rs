//! Whole proving days, with everything that can go wrong in one.

use std::collections::{BTreeMap, BTreeSet};

use streams::id::SectorNumber;

use super::{
    chain_by_hand::{Day, Deadline, GOOD, PERIOD, Sector},
    *,
};

fn sectors(numbers: &[u64]) -> BTreeMap<u64, Sector> {
    numbers.iter().map(|n| (*n, GOOD)).collect()
}

/// Deadlines 0 and 5 are empty; deadline 2 has three partitions over two places.
fn usual() -> Vec<Deadline> {
    let mut two_places = sectors(&[1, 2]);
    two_places.get_mut(&2).unwrap().place = "west";
    vec![
        vec![],
        vec![sectors(&[9])],
        vec![two_places, sectors(&[3, 4]), sectors(&[5])],
        vec![sectors(&[6, 7])],
        vec![sectors(&[8])],
        vec![],
    ]
}

/// Every partition of [`usual`] in the period that begins at `start`.
fn all(start: Epoch) -> Vec<(Epoch, u64)> {
    let at = |deadline: Epoch, partition| (start + deadline * 15, partition);
    vec![at(1, 0), at(2, 0), at(2, 1), at(2, 2), at(3, 0), at(4, 0)]
}

#[test]
fn a_quiet_day_proves_everything_once() {
    let mut day = Day::new(usual());
    day.run(PERIOD + 3);
    assert_eq!(day.landed(), all(90));
    assert_eq!(day.messages.len(), 6, "one message a partition");
    assert!(day.messages.iter().all(|m| m.executed.is_some_and(|(_, code)| code == 0)));
    assert!(day.missed.is_empty());
    let closed: BTreeSet<_> = day.finished.iter().map(|(_, open)| *open).collect();
    assert_eq!(closed, (90..180).step_by(15).collect(), "every window came to its end, the empty ones too");
}

#[test]
fn an_unreadable_sector_is_skipped_and_comes_back_when_it_is_recovered() {
    let mut day = Day::new(usual());
    day.deadlines[3][0].get_mut(&7).unwrap().readable = false;
    day.run(PERIOD);
    let record = &day.posts[&(135, 0)];
    assert_eq!(record.proven, [SectorNumber(6)]);
    assert_eq!(record.skipped.iter().map(|(n, _)| n.0).collect::<Vec<_>>(), [7]);
    assert!(day.deadlines[3][0][&7].faulty && !day.deadlines[3][0][&6].faulty);

    let sector = day.deadlines[3][0].get_mut(&7).unwrap();
    (sector.readable, sector.recovering) = (true, true);
    day.run(PERIOD);
    assert_eq!(day.posts[&(225, 0)].proven, [6, 7].map(SectorNumber));
    assert!(!day.deadlines[3][0][&7].faulty, "its power is back");
    assert!(day.missed.is_empty());
}

#[test]
fn faulty_sectors_are_left_alone_and_a_faulty_partition_is_nobodys_work() {
    let mut day = Day::new(usual());
    day.deadlines[4][0].get_mut(&8).unwrap().faulty = true;
    day.deadlines[3][0].get_mut(&7).unwrap().faulty = true;
    day.run(PERIOD + 3);
    assert_eq!(day.posts[&(135, 0)].proven, [SectorNumber(6)]);
    assert!(day.posts[&(135, 0)].skipped.is_empty(), "nothing is skipped that was not to be proven");
    assert!(!day.posts.contains_key(&(150, 0)));
    assert!(day.missed.is_empty());
}

#[test]
fn slow_agents_make_it_or_are_missed_once() {
    let mut day = Day::new(usual());
    day.takes = (5, 9);
    day.run(PERIOD + 3);
    assert_eq!(day.landed(), all(90), "vanilla at 33, SNARK at 42, executed at 43 of 45");
    let mut day = Day::new(usual());
    day.takes = (5, 30);
    day.run(PERIOD + 3);
    assert!(day.landed().is_empty());
    let missed: Vec<_> = day.missed.iter().map(|(open, partition, _)| (*open, *partition)).collect();
    assert_eq!(missed, all(90), "each once");
    assert!(day.missed.iter().all(|(_, _, reached)| *reached == Reached::Vanilla));
}

#[test]
fn a_failed_message_is_sent_again_while_the_window_is_open() {
    let mut day = Day::new(usual());
    day.failing = [0, 1].into();
    day.run(PERIOD + 3);
    assert_eq!(day.landed(), all(90));
    assert_eq!(day.messages.len(), 8);

    let mut day = Day::new(usual());
    day.failing = (0..100).collect();
    day.run(PERIOD + 3);
    assert!(day.landed().is_empty());
    assert_eq!(day.messages.len(), 6 * usize::try_from(FAILED_SENDS_MAX).unwrap(), "and then no more gas is spent");
    assert!(day.missed.iter().all(|(_, _, reached)| *reached == Reached::Message));
}

#[test]
fn a_standby_takes_over_at_any_epoch() {
    for dies_at in 91..150 {
        let mut day = Day::new(usual());
        day.posters.push(Some(BTreeMap::new()));
        day.run(dies_at - 90);
        day.posters[0] = None;
        day.run(93 - (dies_at - 90));
        assert_eq!(day.landed(), all(90), "died at {dies_at}");
        assert!(day.missed.is_empty(), "died at {dies_at}");
    }
}

#[test]
fn a_poster_that_restarts_at_any_epoch_loses_nothing_but_time() {
    for restarts_at in 91..150 {
        let mut day = Day::new(usual());
        day.run(restarts_at - 90);
        day.posters[0] = Some(BTreeMap::new());
        day.run(93 - (restarts_at - 90));
        assert_eq!(day.landed(), all(90), "restarted at {restarts_at}");
        assert_eq!(day.messages.len(), 6, "restarted at {restarts_at}");
    }
}

#[test]
fn two_posters_that_both_believe_to_lead_do_no_harm() {
    let mut day = Day::new(usual());
    day.posters.push(Some(BTreeMap::new()));
    day.split = true;
    day.run(PERIOD + 3);
    assert_eq!(day.landed(), all(90));
    assert!(day.missed.is_empty());
}

#[test]
fn a_queue_that_loses_everything_costs_time_only() {
    for lost_at in 91..160 {
        let mut day = Day::new(usual());
        day.run(lost_at - 90);
        day.queue.clear();
        day.run(93 - (lost_at - 90));
        assert_eq!(day.landed(), all(90), "lost at {lost_at}");
    }
}
