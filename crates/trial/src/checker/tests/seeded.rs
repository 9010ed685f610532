//! One thing that must never happen at a time, and exactly its invariant fires.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::sample::{CANARY, KEY, SECTOR, STORE, Sample, hex32, message, ms, prove_commit, recovered, road, signed};
use crate::evidence::{QueueLine, RunLine, StoreLine, Write};

/// Exactly this invariant is named, with at least one line and words.
#[track_caller]
fn fires(id: &str, sample: &Sample) {
    let found = sample.violations();
    let ids: BTreeSet<_> = found.iter().map(|violation| violation.id).collect();
    assert_eq!(ids, BTreeSet::from([id]), "{found:#?}");
    assert!(found.iter().all(|violation| !violation.words.is_empty() && !violation.subject.is_empty()));
}

fn changed(change: impl FnOnce(&mut Sample)) -> Sample {
    let mut sample = Sample::good();
    change(&mut sample);
    sample
}

#[test]
fn i1_a_number_given_twice() {
    fires("I1", &changed(|s| s.put(3, "KV_NUMBERS", "$KV.NUMBERS.f01000.1", json!({"v": 1, "at": 3}))));
}

#[test]
fn i1_a_number_used_again_after_a_wipe() {
    let mut sample = changed(|s| s.begins("KV_SECTORS"));
    let at = json!({"submitted_at": ms(170), "incarnation": 2});
    sample.record(SECTOR, 0, &json!({"is": "allocated"}), at);
    // It is on its way at the end of the run, which is I13's to say.
    sample.run.retain(|line| !matches!(line, RunLine::Over { .. }));
    fires("I1", &sample);
}

#[test]
fn i2_another_ticket_in_the_same_generation() {
    fires("I2", &changed(|s| s.edit(5, |record| record["state"]["ticket"]["value"] = json!(hex32(9)))));
}

#[test]
fn i2_a_manifest_with_another_ticket() {
    let sample = changed(|s| {
        let StoreLine::Files { manifest: Some(manifest), .. } = &mut s.stores[0] else { panic!() };
        manifest["tag"]["ticket"]["epoch"] = json!(11);
    });
    fires("I2", &sample);
}

#[test]
fn i3_an_old_ticket() {
    fires("I3", &changed(|s| s.settings.ticket_age_max = 9));
}

#[test]
fn i4_a_second_message_while_the_first_may_work() {
    let sample = changed(|s| {
        let bytes = signed(2, 34, prove_commit());
        s.outbox(133, 2, "ProveCommitSectors3", &[bytes], &json!({"is": "journaled"}));
    });
    fires("I4", &sample);
}

#[test]
fn i4_a_second_message_on_chain_after_one_that_worked() {
    let sample = changed(|s| {
        let failed = json!({"is": "landed", "exit_code": 17});
        s.outbox(136, 2, "ProveCommitSectors3", &[signed(2, 34, prove_commit())], &failed);
        s.tipset(30, vec![message("m2", 2, 34, prove_commit())]);
    });
    fires("I4", &sample);
}

#[test]
fn i5_a_seed_of_another_epoch() {
    let sample = changed(|s| {
        for seq in 10..s.records() {
            s.edit(seq, |record| record["state"]["seed"]["epoch"] = json!(26));
        }
    });
    fires("I5", &sample);
}

#[test]
fn i5_a_pre_commit_that_the_chain_has_elsewhere() {
    let sample = changed(|s| {
        for seq in 9..s.records() {
            s.edit(seq, |record| {
                record["state"]["pre_commit"]["epoch"] = json!(19);
                if let Some(seed) = record["state"].get_mut("seed") {
                    seed["epoch"] = json!(24);
                }
            });
        }
    });
    fires("I5", &sample);
}

#[test]
fn i6_proven_too_late() {
    fires("I6", &changed(|s| s.settings.prove_commit_duration_max = 6));
}

#[test]
fn i7_a_post_that_is_no_proof() {
    let sample =
        changed(|s| s.chain.iter_mut().filter(|l| l["line"] == "post").for_each(|l| l["valid"] = json!(false)));
    fires("I7", &sample);
}

#[test]
fn i8_another_replica_on_chain() {
    let sample = changed(|s| {
        let StoreLine::Files { manifest: Some(manifest), .. } = &mut s.stores[0] else { panic!() };
        manifest["done"][0]["comm_r"] = json!(hex32(3));
    });
    fires("I8", &sample);
}

#[test]
fn i8_a_persisted_file_that_changed() {
    let sample = changed(|s| {
        let StoreLine::Files { files, .. } = &mut s.stores[0] else { panic!() };
        files[1].sha256 = "05".to_owned();
    });
    fires("I8", &sample);
}

#[test]
fn i9_a_persisted_manifest_that_is_gone() {
    let sample = changed(|s| {
        let StoreLine::Files { manifest, .. } = &mut s.stores[0] else { panic!() };
        *manifest = None;
    });
    fires("I9", &sample);
}

#[test]
fn i10_a_prove_commit_before_the_copy() {
    let sample = changed(|s| {
        for seq in 7..14 {
            s.edit(seq, |record| record["state"]["sealed"]["persisted"] = Value::Null);
        }
    });
    fires("I10", &sample);
}

fn claim(agent: &str, attempt: u32, at: u64) -> Value {
    json!({"v": 1, "agent": agent, "run": STORE, "attempt": attempt, "generation": 1, "incarnation": 1,
           "claimed_at": at, "beat_at": at})
}

#[test]
fn i11_a_result_after_a_later_claim() {
    let sample = changed(|s| s.put(57, "KV_CLAIMS", &format!("$KV.CLAIMS.{KEY}.pc2"), claim("b", 2, ms(57))));
    fires("I11", &sample);
}

#[test]
fn i11_a_result_of_an_earlier_life() {
    let sample = changed(|s| {
        for seq in 0..s.records() {
            s.edit(seq, |record| record["incarnation"] = json!(2));
        }
    });
    fires("I11", &sample);
}

#[test]
fn i12_two_provers_in_one_folder() {
    let sample = changed(|s| {
        let gone = s.run.iter().position(|line| matches!(line, RunLine::ChildGone { .. })).unwrap();
        s.child(101, 56);
        let second = s.run.pop().unwrap();
        s.run.insert(gone, second);
    });
    fires("I12", &sample);
}

#[test]
fn i13_a_sector_that_nothing_moves() {
    let sample = changed(|s| s.drop_stored(|_, json| json["seq"].as_u64() > Some(12)));
    fires("I13", &sample);
}

#[test]
fn i13_a_submitted_sector_without_a_record() {
    fires("I13", &changed(|s| s.run.push(RunLine::Submitted { at: ms(2), sector: "f01000/9".to_owned() })));
}

/// The road to a parked sector, as it should be.
fn parked() -> Sample {
    let mut road = road();
    road.truncate(6);
    let was = road[5].clone();
    road.push(json!({"is": "parked", "was": was, "reason": {"code": 1001, "text": "failed 5 times"}}));
    let mut sample = Sample::of(road);
    // What comes after PC1 did not happen.
    sample.drop_stored(|stream, _| stream == "KV_MESSAGES");
    sample.chain.retain(|line| !["tipset", "post"].contains(&line["line"].as_str().unwrap()));
    sample.run.push(RunLine::Poisoned { at: ms(1), sector: SECTOR.to_owned(), park: vec![1001] });
    sample
}

#[test]
fn i13_a_poisoned_sector_that_parks_for_another_reason() {
    assert_eq!(parked().violations(), []);
    let mut sample = parked();
    sample.edit(6, |record| record["state"]["reason"]["code"] = json!(2001));
    fires("I13", &sample);
}

#[test]
fn i14_work_begun_on_a_parked_sector() {
    let mut sample = parked();
    sample.child(102, 90);
    fires("I14", &sample);
}

#[test]
fn i15_a_healthy_sector_not_proven() {
    fires("I15", &changed(|s| s.close(135, &[1], &[1])));
}

#[test]
fn i15_is_excused_only_by_a_fault_that_says_so() {
    let fault = |excuses: Vec<String>| RunLine::Fault {
        at: ms(1),
        id: 1,
        kind: "kill-posters".to_owned(),
        target: "every poster".to_owned(),
        held: "deadline 2".to_owned(),
        excuses,
    };
    let missed = |excuses| {
        changed(|s| {
            s.close(135, &[1], &[1]);
            s.run.push(fault(excuses));
        })
    };
    fires("I15", &missed(vec!["I3".to_owned()]));
    assert_eq!(missed(vec!["I15".to_owned()]).violations(), []);
}

#[test]
fn i16_a_second_message_with_one_nonce() {
    let sample = changed(|s| {
        let bytes = [signed(0, 28, vec![1, 2, 3])];
        s.outbox(86, 0, "PreCommitSectorBatch2", &bytes, &json!({"is": "landed", "exit_code": 0}));
    });
    fires("I16", &sample);
}

#[test]
fn i16_a_nonce_left_out() {
    let sample = changed(|s| {
        s.outbox(150, 3, "SubmitWindowedPoSt", &[signed(3, 5, vec![])], &json!({"is": "journaled"}));
    });
    fires("I16", &sample);
}

#[test]
fn i16_a_message_that_no_outbox_has() {
    fires("I16", &changed(|s| s.tipset(41, vec![message("m2", 2, 5, vec![])])));
}

#[test]
fn i17_a_recovery_that_is_none() {
    let sample = changed(|s| {
        s.outbox(150, 2, "DeclareFaultsRecovered", &[signed(2, 11, recovered())], &json!({"is": "journaled"}));
        s.tipset(100, vec![message("m2", 2, 11, recovered())]);
        s.close(135, &[1], &[]);
    });
    fires("I17", &sample);
}

#[test]
fn i18_more_promised_than_there_is() {
    let sample = changed(|s| {
        let store = json!({"v": 1, "store": STORE, "persistent": false, "bytes_total": 1000, "bytes_free": 900,
                           "bytes_reserved": 1001});
        s.put(5, "KV_STORES", &format!("$KV.STORES.{STORE}"), store);
    });
    fires("I18", &sample);
}

#[test]
fn i19_a_state_that_goes_back_for_no_reason() {
    let mut states = road();
    let again = [states[4].clone(), states[5].clone(), states[6].clone()];
    states.splice(7..7, again);
    let sample = Sample::of(states);
    fires("I19", &sample);
}

#[test]
fn i19_a_state_left_out() {
    let mut states = road();
    states.remove(9);
    fires("I19", &Sample::of(states));
}

#[test]
fn i20_a_secret_in_a_message() {
    let sample = changed(|s| s.edit(3, |record| record["what"] = json!(format!("token {CANARY}"))));
    fires("I20", &sample);
}

#[test]
fn i21_work_begun_after_a_drain() {
    let drained = RunLine::Drained { at: ms(54), agent: "a".to_owned() };
    fires("I21", &changed(|s| s.run.push(drained.clone())));
    let restarted =
        RunLine::Started { at: ms(54) + 50, name: "a".to_owned(), role: crate::evidence::Role::Agent, pid: 8 };
    assert_eq!(changed(|s| s.run.extend([drained, restarted])).violations(), []);
}

#[test]
fn i22_an_event_that_is_missing() {
    fires("I22", &changed(|s| s.drop_stored(|stream, json| stream == "EVENTS" && json["seq"] == 8)));
}

#[test]
fn i22_a_record_that_is_missing() {
    fires("I22", &changed(|s| s.drop_stored(|stream, json| stream == "KV_SECTORS" && json["seq"] == 7)));
}

#[test]
fn q1_an_acknowledged_write_that_is_gone() {
    let write = |seq| Write {
        stream: "KV_SECTORS".to_owned(),
        seq,
        subject: "$KV.SECTORS.f01000.1".to_owned(),
        sha256: String::new(),
    };
    let sample = changed(|s| {
        s.run.extend([1, 2].map(|seq| RunLine::Acknowledged { at: ms(1), write: write(seq) }));
        s.run.push(RunLine::Reread { at: ms(2), write: write(1) });
        s.run.push(RunLine::RereadAll { at: ms(2) });
    });
    fires("Q1", &sample);
}

#[test]
fn e1_what_nobody_saw() {
    let missed = QueueLine::Missed { at: ms(9), stream: "KV_SECTORS".to_owned(), from: 3, to: 4 };
    fires("E1", &changed(|s| s.queue.push(missed)));
}
