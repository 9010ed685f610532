//! I7, I8, I15, I17: what the chain was told is true, and told in time.

use super::{
    Evidence, Found, Violation,
    chain::Message,
    load::Files,
    messages::{Effect, effects},
    record::State,
};

/// `USR_ILLEGAL_ARGUMENT`: what the actor says of a proof that does not verify.
const BAD_PROOF: u32 = 16;

/// A window PoSt that is none was sent, or a prove-commit was refused as one. That a good proof was verified before it
/// was sent cannot be seen from outside: here the chain tells of those that were not good. Shortly after a fork it may
/// be the challenge that changed, and nothing is said.
pub(super) fn i7(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I7");
    for verdict in evidence.chain.verdicts.iter().filter(|verdict| !verdict.value.valid) {
        if evidence.chain.is_forked_before(verdict.height) {
            continue;
        }
        let value = &verdict.value;
        let subject = format!("{} deadline {} partitions {:?}", value.miner, value.deadline, value.partitions);
        found.note(subject, [verdict.spot], format!("the window PoSt at epoch {} is no proof", verdict.height));
    }
    for (sector, effects) in effects(evidence, Message::prove_commits) {
        let refused = |effect: &&Effect| effect.code == BAD_PROOF && !evidence.chain.is_forked_before(effect.height);
        for effect in effects.iter().filter(refused) {
            found.note(sector.clone(), [effect.spot], "the chain refused its proof");
        }
    }
    found.all
}

/// The pre-commit on chain, the record, the persisted manifest and the persisted file do not tell the same commitments.
/// CommR is not derived again from the files: that the file is the one whose digest was recorded, and that its proofs
/// verify on chain, is what is held.
pub(super) fn i8(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I8");
    for landed in evidence.chain.messages().filter(|landed| landed.value.exit_code == 0) {
        for on_chain in landed.value.pre_commits().unwrap_or_default() {
            let sector = format!("{}/{}", landed.value.miner(), on_chain.number);
            let Some(record) = evidence.sectors.get(&sector).and_then(|records| records.last()) else { continue };
            let state = &record.value.state;
            if let Some(comm_r) = state.comm_r().filter(|comm_r| *comm_r != on_chain.comm_r) {
                let words = format!("CommR is {} on chain and {comm_r} in its record", on_chain.comm_r);
                found.note(sector.clone(), [landed.spot, record.spot], words);
            }
            // Without pieces the chain is told none, and takes zeros.
            if let (Some(comm_d), Some(told)) = (state.comm_d(), &on_chain.comm_d)
                && comm_d != told
            {
                let words = format!("CommD is {told} on chain and {comm_d} in its record");
                found.note(sector.clone(), [landed.spot, record.spot], words);
            }
            if on_chain.comm_d.is_none() && !record.value.pieces.is_empty() {
                found.note(sector, [landed.spot, record.spot], "it has pieces, and the chain was told of zeros");
            }
        }
    }
    for (sector, files) in &evidence.files {
        let Some(record) = evidence.sectors.get(sector).and_then(|records| records.last()) else { continue };
        for files in files.iter().filter(|files| files.persistent) {
            for words in differences(&record.value.state, files) {
                found.note(sector.clone(), [files.spot, record.spot], words);
            }
        }
    }
    found.all
}

/// What a record and a persisted copy tell differently.
fn differences(state: &State, files: &Files) -> Vec<String> {
    let mut all = Vec::new();
    let done = files.manifest.as_ref().map(|manifest| manifest.done.as_slice()).unwrap_or_default();
    let kept = done.iter().find(|facts| facts.stage == "pc2").and_then(|facts| facts.comm_r.as_deref());
    if let (Some(kept), Some(comm_r)) = (kept, state.comm_r())
        && kept != comm_r
    {
        all.push(format!("CommR is {kept} in its persisted manifest and {comm_r} in its record"));
    }
    let persisted = state.persisted().filter(|persisted| persisted.store == files.store);
    let sealed = files.files.iter().find(|file| file.name.starts_with("sealed/"));
    if let (Some(persisted), Some(sealed)) = (persisted, sealed)
        && sealed.sha256 != persisted.sealed_sha256
    {
        all.push(format!("{} is not the file that was persisted", sealed.name));
    }
    all
}

/// A deadline of the chain at the end closed over sectors that were live, healthy and not proven. Excused are sectors
/// that were spoilt on purpose, and deadlines during which a fault says that nobody could prove.
pub(super) fn i15(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I15");
    for close in evidence.chain.closes.iter().filter(|close| evidence.chain.stands(&close.tipset)) {
        for partition in &close.value.partitions {
            let sector = |number: &u64| format!("{}/{number}", close.value.miner);
            let missed: Vec<_> = partition.missed.iter().map(sector).collect();
            let missed: Vec<_> = missed.into_iter().filter(|sector| !evidence.run.is_poisoned(sector)).collect();
            if missed.is_empty() || is_excused(evidence, close.height) {
                continue;
            }
            let value = &close.value;
            let subject = format!("{} deadline {} partition {}", value.miner, value.deadline, partition.partition);
            let proof = if partition.proven { "proven without" } else { "closed without proof of" };
            found.note(subject, [close.spot], format!("{proof} {} at epoch {}", missed.join(", "), close.height));
        }
    }
    found.all
}

/// Whether a fault excuses a deadline that closed at this epoch: from its window's opening on.
fn is_excused(evidence: &Evidence, close: i64) -> bool {
    let settings = &evidence.run.settings;
    let Some((epoch, at)) = evidence.heads.iter().find(|(epoch, _)| *epoch >= close) else {
        // Nobody followed the chain so far: any fault that excuses may be why.
        return evidence.run.is_excused("I15", 0, u64::MAX);
    };
    let ms = |epochs: i64| u64::try_from(epochs).unwrap_or(0).saturating_mul(settings.block_delay_ms);
    let closed = at.saturating_sub(ms(epoch - close));
    evidence.run.is_excused("I15", closed.saturating_sub(ms(settings.challenge_window)), closed)
}

/// A sector was declared recovered and was faulty after the next close of its deadline. (A declaration whose vanilla
/// proof nobody tried, and which went well, is not seen.)
pub(super) fn i17(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I17");
    for landed in evidence.chain.messages().filter(|landed| landed.value.exit_code == 0) {
        for (deadline, partition, numbers) in landed.value.recoveries().unwrap_or_default() {
            let miner = landed.value.miner();
            let next = evidence.chain.closes.iter().find(|close| {
                let value = &close.value;
                evidence.chain.stands(&close.tipset)
                    && close.height >= landed.height
                    && (value.miner == miner && value.deadline == deadline)
            });
            let Some(close) = next.filter(|close| !is_excused(evidence, close.height)) else { continue };
            let closed = close.value.partitions.iter().find(|closed| closed.partition == partition);
            for number in numbers.iter().filter(|number| closed.is_some_and(|closed| closed.faulty.contains(number))) {
                let words = format!("declared recovered at epoch {} and still faulty", landed.height);
                found.note(format!("{miner}/{number}"), [landed.spot, close.spot], words);
            }
        }
    }
    found.all
}
