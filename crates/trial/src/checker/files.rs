//! I9, I10, I12, I18: a sector's files.

use std::collections::BTreeMap;

use super::{
    Evidence, Found, Violation,
    load::Files,
    nonces::address,
    run::{Lived, Noted},
};
use crate::evidence::STORES;

/// A sector that has been sealed has no replica any more: no persisted one with its manifest, and no local one; or it is
/// proving, and none is where its record says that it is persisted. Judged once, on what is there at the end; that a
/// vanilla proof was made from the copy before the local one went is seen by the PoSt that follows (I15).
pub(super) fn i9(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I9");
    if !evidence.has(STORES) {
        return found.all;
    }
    for (sector, records) in &evidence.sectors {
        let Some(last) = records.last().filter(|_| !evidence.run.is_poisoned(sector)) else { continue };
        let state = &last.value.state;
        if state.comm_r().is_none() || state.is == "aborted" {
            continue;
        }
        let here = evidence.files.get(sector).map(Vec::as_slice).unwrap_or_default();
        if let Some(persisted) = state.persisted() {
            if !here.iter().any(|files| files.store == persisted.store && is_whole(files)) {
                let words = format!("its replica is not in store {}, where it was persisted", persisted.store);
                found.note(sector.clone(), [last.spot], words);
            }
        } else if !here.iter().any(|files| files.files.iter().any(|file| file.name == "sealed") || is_whole(files)) {
            found.note(sector.clone(), [last.spot], "no store has its replica");
        }
    }
    found.all
}

/// Sealed file, what proving needs beside it, and the manifest that is written last.
fn is_whole(files: &Files) -> bool {
    let has = |end: &str| files.files.iter().any(|file| file.name.ends_with(end));
    let sealed = files.files.iter().any(|file| file.name.starts_with("sealed/"));
    files.persistent && files.manifest.is_some() && sealed && has("/p_aux")
}

/// A sector joined a prove-commit, or proves, while its record knows no persisted replica.
pub(super) fn i10(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I10");
    for (sector, records) in &evidence.sectors {
        let sent = |is: &str| ["prove-commit-sent", "proving"].contains(&is);
        let bare = records.iter().find(|record| {
            let state = record.value.state.within();
            sent(&state.is) && state.persisted().is_none() && !state.is_attached()
        });
        if let Some(record) = bare {
            let words = format!("it is {} without a persisted replica", record.value.state.within().is);
            found.note(sector.clone(), [record.spot], words);
        }
    }
    for entries in evidence.outbox.values() {
        let Some(entry) = entries.first().filter(|entry| entry.value.method == "ProveCommitSectors3") else { continue };
        for number in &entry.value.sectors {
            let sector = format!("{}/{number}", address(&entry.value.miner));
            let records = evidence.sectors.get(&sector).map(Vec::as_slice).unwrap_or_default();
            let before = records.iter().rev().find(|record| record.us <= entry.us && record.life == entry.life);
            // Its own record in `prove-commit-sent` was judged above.
            if let Some(before) = before.filter(|before| before.value.state.within().is == "c2-done")
                && before.value.state.persisted().is_none()
            {
                let words = "a prove-commit with it was signed before a replica was persisted";
                found.note(sector, [before.spot, entry.spot], words);
            }
        }
    }
    found.all
}

/// Two provers that change one sector's folder were alive at the same moment. Looked at every so often: two that met only
/// between two looks are not seen.
pub(super) fn i12(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I12");
    let mut folders = BTreeMap::<&str, Vec<&Noted<Lived>>>::new();
    for lived in &evidence.run.children {
        let Some(folder) = &lived.value.child.folder else { continue };
        let before = folders.entry(folder).or_default();
        let two = &lived.value.child;
        // One that was missed in the look in which the other was first seen was gone by then.
        for first in before.iter().filter(|first| first.value.until.is_none_or(|until| until > two.at)) {
            let one = &first.value.child;
            let words =
                format!("{} of {} and {} of {} were at work together", one.stage, one.agent, two.stage, two.agent);
            found.note(folder.clone(), [first.spot, lived.spot], words);
        }
        before.push(lived);
    }
    found.all
}

/// A store was promised away beyond its size, less what must stay free. Promises are judged against the whole file system
/// and not against what was free at that moment, since what a sector had written by then is not in the record.
pub(super) fn i18(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::of("I18");
    let keep_free = evidence.run.settings.keep_free_bytes;
    for (store, seen) in evidence.stores.iter().filter(|(_, seen)| !seen.value.persistent) {
        let room = seen.value.bytes_total.saturating_sub(keep_free);
        if seen.value.bytes_reserved > room {
            let words = format!("{} bytes are promised of {room}", seen.value.bytes_reserved);
            found.note(store.clone(), [seen.spot], words);
        }
    }
    found.all
}
