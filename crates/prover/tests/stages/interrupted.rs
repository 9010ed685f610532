//! What an interrupted run leaves is used where it is whole and its own, and nowhere else.

use std::fs;

use prover::job::{Output, REQUEST, Request};
use streams::message::encode;

use crate::bench::{Bench, PROOF, damage, prover, ticket};

#[test]
fn layers_of_another_ticket_are_not_used() {
    let (reused, fresh) = (Bench::new(), Bench::new());
    let first = reused.seal_cc(1, ticket(1));
    let second = reused.seal_cc(1, ticket(2));
    assert_ne!(first, second);
    assert_eq!(second, fresh.seal_cc(1, ticket(2)));
}

#[test]
fn layers_of_the_same_work_are_kept_and_torn_ones_are_not() {
    let bench = Bench::new();
    bench.done(bench.pc1(1, ticket(1), &[]));
    let layer = |n: u32| bench.path(&format!("cache/sc-02-data-layer-{n}.dat"));
    let changed = |n: u32| fs::metadata(layer(n)).unwrap().modified().unwrap();
    let (first, second) = (changed(1), changed(2));
    fs::File::options().write(true).open(layer(2)).unwrap().set_len(1000).unwrap();
    bench.done(bench.pc1(1, ticket(1), &[]));
    assert_eq!(changed(1), first);
    assert_ne!(changed(2), second);
}

/// What a kill in the middle of a layer leaves: a file of full length that the tag does not vouch for.
#[test]
fn a_layer_that_was_not_noted_is_made_again() {
    let (bench, fresh) = (Bench::new(), Bench::new());
    let (_, comm_r) = fresh.seal_cc(1, ticket(1));
    bench.done(bench.pc1(1, ticket(1), &[]));
    let layer = |n: u32| bench.path(&format!("cache/sc-02-data-layer-{n}.dat"));
    let first = fs::metadata(layer(1)).unwrap().modified().unwrap();
    let tag = fs::read_to_string(bench.path("cache.tag")).unwrap();
    let noted = tag.replace("\"layers_synced\":2", "\"layers_synced\":1");
    assert_ne!(tag, noted);
    host::durable::write(&bench.path("cache.tag"), noted.as_bytes()).unwrap();
    damage(&layer(2));
    bench.done(bench.pc1(1, ticket(1), &[]));
    assert_eq!(fs::metadata(layer(1)).unwrap().modified().unwrap(), first, "the whole layer is kept");
    let Output::Pc2 { comm_r: again, .. } = bench.done(bench.pc2(1, true)) else { panic!("not pc2") };
    assert_eq!(again, comm_r);
}

/// Killed at whatever it does, some milliseconds later each time.
#[test]
fn a_killed_pc2_begins_from_clean_inputs() {
    let (bench, fresh) = (Bench::new(), Bench::new());
    let (_, comm_r) = fresh.seal_cc(1, ticket(1));
    bench.done(bench.pc1(1, ticket(1), &[]));
    let job = bench.path("job-pc2");
    fs::create_dir_all(&job).unwrap();
    let request = Request { proof: PROOF, work: bench.pc2(1, true) };
    host::durable::write(&job.join(REQUEST), &encode(&request).unwrap()).unwrap();
    let mut killed = 0;
    for pause_ms in [0, 2, 5, 10, 20, 40] {
        let mut child = prover(&job).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && !bench.path("job-pc2/progress.json").exists() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        host::durable::remove_file(&job.join("progress.json")).unwrap();
    }
    assert!(killed > 0, "every run came to its end");
    let Output::Pc2 { comm_r: again, .. } = bench.done(bench.pc2(1, true)) else { panic!("not pc2") };
    assert_eq!(again, comm_r);
}

#[test]
fn an_interrupted_pc2_leaves_no_trace() {
    let bench = Bench::new();
    let (_, comm_r) = bench.seal_cc(1, ticket(1));
    damage(&bench.path("sealed"));
    damage(&bench.path("cache/p_aux"));
    let Output::Pc2 { comm_r: again, .. } = bench.done(bench.pc2(1, true)) else { panic!("not pc2") };
    assert_eq!(again, comm_r);
}
