//! Forks inside a window, a node that breaks and lies, and two posters that both believe they lead.

use std::{collections::BTreeMap, sync::Arc};

use chain::ChainApi as _;
use devnet::rpc::{Does, Rule};
use streams::{
    id::Timestamp,
    proof::{ProofBytes, SealProof},
    records::PostRecord,
};

use super::{
    agents::{self, Digests},
    cluster::{Cluster, NORMAL, comm_r},
};
use crate::{
    check::Checker,
    deadline::Window,
    facts::{Facts, PartitionFacts, Sending, Target},
    reading::{self, WindowReading},
    submit::Sent,
};

/// Lets epochs pass to the challenge of a window with something to prove.
async fn window_with_work(cluster: &Cluster) -> (Window, WindowReading) {
    for _ in 0..7 {
        let window = cluster.next_window().await;
        cluster.advance_to(window.challenge + 1).await;
        let head = cluster.api().head().await.unwrap();
        let reading = reading::window(cluster.api(), &window, &head).await.unwrap();
        if !reading.partitions.is_empty() {
            return (window, reading);
        }
        cluster.advance_to(window.close - 4).await;
    }
    panic!("no window has anything to prove");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_a_fork_took_away_is_on_chain_again_before_the_window_closes() {
    let cluster = Cluster::start(NORMAL).await;
    let poster = cluster.poster("one");
    // The second fork reaches below the challenge: its tickets are others, and what was signed over them is void.
    for below_challenge in [false, true] {
        let (window, reading) = window_with_work(&cluster).await;
        let expected = reading.partitions.len();
        cluster.wait_for_records(&window, expected, "proven", |_| true).await;
        cluster.advance_to(window.open).await;
        cluster.until_submitted(&window, expected).await;
        let from = if below_challenge { window.challenge } else { window.open };
        cluster.fork_from(from);
        assert!(cluster.submitted(&window).await.is_empty(), "the fork took every proof away");
        cluster.until_submitted(&window, expected).await;
        cluster.advance_to(window.close - 3).await;
        assert_eq!(cluster.submitted(&window).await.len(), expected);
        cluster.advance_to(window.close).await;
    }
    assert_eq!(cluster.faults().await, Vec::<u64>::new());
    poster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_breaks_and_lies_costs_no_deadline() {
    let cluster = Cluster::start(NORMAL).await;
    let poster = cluster.poster("one");
    let every = |does, times| Rule { method: "*".to_owned(), times, does };
    let rounds = [
        vec![every(Does::Http { status: 503 }, 10), every(Does::Drop, 10), every(Does::Hang { secs: 4 }, 1)],
        vec![every(Does::Stale { back: 3 }, 12), every(Does::ExitCode { code: 16 }, 1), every(Does::NoReceipt, 2)],
        vec![every(Does::Network { name: "mainnet".to_owned() }, 2), every(Does::LostAnswer, 6)],
    ];
    for rules in rounds {
        let (window, reading) = window_with_work(&cluster).await;
        let expected = reading.partitions.len();
        cluster.misbehave(rules);
        cluster.wait_for_records(&window, expected, "proven", |_| true).await;
        cluster.until_submitted(&window, expected).await;
        cluster.misbehave([]);
        cluster.advance_to(window.close).await;
    }
    assert_eq!(cluster.faults().await, Vec::<u64>::new());
    assert!(cluster.verdicts().iter().all(|verdict| verdict.valid), "{:?}", cluster.verdicts());
    poster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_posters_that_both_lead_one_sends() {
    let cluster = Cluster::start(NORMAL).await;
    let (window, reading) = window_with_work(&cluster).await;
    cluster.advance_to(window.open).await;
    let (index, partition) = reading.partitions.iter().next().unwrap();
    let sectors: Vec<_> = partition.to_prove.iter().map(|number| (*number, comm_r(number.0))).collect();
    let record = PostRecord {
        miner: window.miner,
        deadline: window.deadline,
        open: window.open,
        close: window.close,
        partition: *index,
        randomness: reading.randomness,
        proven: partition.to_prove.iter().copied().collect(),
        skipped: Vec::new(),
        proof: ProofBytes(agents::prove(window.miner, reading.randomness, &sectors)),
        proved_at: Timestamp(0),
        message: None,
        landed_at: None,
    };
    cluster.store(&record).await;
    let target = |(number, comm_r)| (number, Target { comm_r, replicas: Vec::new() });
    let facts = Facts {
        head: window.open,
        window,
        randomness: reading.randomness,
        proof: SealProof::Drg2KiBV1_1,
        partition_sectors: 2,
        partitions: BTreeMap::from([(
            *index,
            PartitionFacts {
                to_prove: sectors.into_iter().map(target).collect(),
                faulty: 0,
                submitted: false,
                record: Some(record),
                sending: Sending::Unsent,
            },
        )]),
        leading: true,
        results_drained: true,
    };
    let checker = Checker::new(Arc::new(Digests));
    let (one, two) = (cluster.submitter(checker.clone()).await, cluster.submitter(checker).await);
    let partitions = [*index];
    let (one, two) = tokio::join!(one.submit(&facts, &partitions), two.submit(&facts, &partitions));
    let sent = [&one, &two].iter().filter(|sent| matches!(sent, Ok(Sent::As(_)))).count();
    assert_eq!(sent, 1, "{one:?} {two:?}");
    cluster.advance_to(window.open + 3).await;
    assert_eq!(cluster.submitted(&window).await, [*index].into());
    assert_eq!(cluster.verdicts().len(), 1, "{:?}", cluster.verdicts());
}
